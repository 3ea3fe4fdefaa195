"""Several managers on one database: each task has one owner, and dead or late managers are detected."""

import signal

from django.db import transaction

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.processes.observability.lines import checked
from tests.support.rows import number_of, register_manager
from tests.support.waiting import wait_until

from .managing import Bench


def enqueue_elsewhere(count: int) -> list[int]:
    """Enqueue tasks into the queue 'other'; it is not in the test settings, so no processor may name it."""
    with transaction.atomic():
        ids = bulk_delay(processors.Pass("elsewhere", number) for number in range(count))
        Task.objects.filter(pk__in=ids).update(queue_name="other")
    return ids


def test_two_managers_of_one_queue_and_one_of_another_run_every_task_once(bench: Bench):
    managers = [bench.ready(), bench.ready()]
    other = bench.ready("--queue-name", "other")
    mine: list[int] = []
    elsewhere: list[int] = []
    for start in range(0, 600, 50):
        mine += bulk_delay(processors.Pass(number) for number in range(start, start + 50))
        elsewhere += enqueue_elsewhere(50)
    wait_until(lambda: number_of("finished") == 1200)

    begun = bench.journal("begun")
    assert sorted(line["id"] for line in begun) == sorted(mine + elsewhere)
    pids = {line["pid"] for line in begun if line["id"] in elsewhere}
    assert pids <= set(other.workers())
    for manager in managers:
        assert set(manager.workers()) & {line["pid"] for line in begun}
    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}
    assert [manager.stop() for manager in (*managers, other)] == [0, 0, 0]
    assert not ManagerLease.objects.exists()


def test_manager_of_one_queue_touches_no_rows_of_another(bench: Bench):
    register_manager("other", lease_seconds=-3600)
    orphan, waiting = enqueue_elsewhere(2)
    Task.objects.filter(pk=orphan).update(status="in_process")
    before = list(Task.objects.values()), list(ManagerLease.objects.values())

    processors.Pass().delay()
    bench.start("--once").ended()

    left = Task.objects.exclude(status="finished")
    assert (list(left.values()), list(ManagerLease.objects.values())) == before
    assert left.get(status="new").pk == waiting


def test_row_that_version_1_left_in_process_is_taken_up_before_all_others(bench: Bench):
    others = bulk_delay((processors.Pass(number) for number in range(5)), priority=-5)
    old = processors.Pass("old").delay()
    Task.objects.filter(pk=old.pk).update(status="in_process", ready=False)

    bench.start("--once", WORKERS_COUNT=1).ended()

    assert [line["id"] for line in bench.journal("begun")] == [old.pk, *others]


def test_tasks_of_a_killed_manager_go_to_its_neighbour_within_two_seconds(bench: Bench):
    victim = bench.ready()
    bulk_delay(processors.Wait("gate", number) for number in range(6))
    bench.wait_for("begun", 2)
    neighbour = bench.ready(WORKERS_COUNT=1, LISTEN=False)  # never sleeps, so no tasks are released for it
    wait_until(lambda: number_of("in_process") == 6)

    victim.send_to_group(signal.SIGKILL)
    neighbour.wait_for("task.rescued", 6, seconds=4)
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 6, 5)

    assert Task.objects.filter(crashes=1, attempts=2).count() == 2
    assert Task.objects.filter(crashes=0, attempts=1).count() == 4


def test_manager_whose_lease_expired_drops_its_tasks_and_registers_again(bench: Bench):
    late = bench.ready(LEASE_SECONDS=3)
    ids = bulk_delay(processors.Wait("gate", number) for number in range(4))
    bench.wait_for("begun", 2)
    wait_until(lambda: number_of("in_process") == 4)
    before = ManagerLease.objects.get()
    # On another host; otherwise it would leave the tasks of live workers to them. It never sleeps, so
    # no tasks are released for it.
    punctual = bench.ready(LEASE_SECONDS=3, LISTEN=False, variables={"TEST_HOST": "elsewhere"})

    late.send(signal.SIGSTOP)
    punctual.wait_for("task.rescued", 4, seconds=8)
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 4)
    late.send(signal.SIGCONT)
    late.wait_for("manager.lease_lost")
    late.wait_for("task.claim_lost", 2)

    assert {event["event.reason"] for event in punctual.logged("task.rescued")} == {"manager_lost"}
    lost = [line for line in checked(late.out()) if line["event.action"] == "task.claim_lost"]
    assert {line["partisan.task.id"] for line in lost} <= {str(pk) for pk in ids}
    assert {line["partisan.processor"] for line in lost} == {"Wait"}
    assert number_of("finished", attempts=1, crashes=0) == 4
    leases = ManagerLease.objects.filter(pid=late.pid)
    wait_until(lambda: leases.exists())
    assert leases.get().pk != before.pk
    punctual.stop()
    processors.Pass().delay()
    wait_until(lambda: number_of("finished") == 5, 5, "the late manager serves on")
    assert late.stop() == 0


def test_task_running_in_a_manager_that_lost_it_does_not_run_twice_there(bench: Bench):
    """A manager on another host rescues the task and dies, so the task returns to where it still runs."""
    late = bench.ready(LEASE_SECONDS=3, WORKERS_COUNT=1)
    task = processors.Wait("gate").delay()
    bench.wait_for("begun")
    neighbour = bench.ready(LEASE_SECONDS=3, WORKERS_COUNT=1, variables={"TEST_HOST": "elsewhere"})

    late.send(signal.SIGSTOP)
    bench.wait_for("begun", 2)
    late.send(signal.SIGCONT)
    late.wait_for("manager.lease_lost")
    neighbour.send_to_group(signal.SIGKILL)
    lease = ManagerLease.objects.filter(pid=late.pid)
    wait_until(lambda: Task.objects.filter(claimed_by__in=lease.values("pk")).exists(), 6)
    assert len(bench.journal("begun")) == 2
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 1)

    task.refresh_from_db()
    assert (task.attempts, task.crashes) == (2, 1)
    assert len(bench.journal("begun")) == 3
