"""Cancellation by managers that are not notified, or are about to stop."""

from django_partisan.cancelling import CancelResult
from django_partisan.models import Task
from tests.app import interrupted_tasks
from tests.support.waiting import wait_until

from .managing import Bench


def ended(bench: Bench, task_id: int) -> Task:
    """Wait until a task has ended; return its row."""
    tasks = Task.objects.filter(pk=task_id)
    wait_until(lambda: not tasks.cancellable().exists(), what=lambda: "\n".join(map(str, bench.managers)))
    return tasks.get()


def test_without_notifications_the_next_heartbeat_cancels(bench: Bench):
    bench.ready(LISTEN=False, LEASE_SECONDS=3, SLEEP_DELAY_SECONDS=0.2)
    task = interrupted_tasks.Unlimited("sleep").delay()
    bench.wait_for("begun")

    assert task.cancel() == CancelResult(0, 1)

    row = ended(bench, task.pk)
    assert row.error_reason == "cancelled"


def test_a_manager_that_drains_interrupts_what_is_cancelled_and_ends(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1)
    task = interrupted_tasks.Unlimited("sleep").delay()
    bench.wait_for("begun")
    manager.process.terminate()
    manager.wait_for("manager.draining")

    task.cancel()

    assert manager.ended() == 0
    row = ended(bench, task.pk)
    assert row.error_reason == "cancelled"
