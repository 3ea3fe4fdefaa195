"""Who runs when: order, times, and that no task waits for a worker that is busy while another is not."""

import os
import signal
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.app.models import Note

from .managing import Bench, is_asleep, let_pass, wait_until


def finished() -> int:
    return Task.objects.filter(status="finished").count()


def in_process() -> int:
    return Task.objects.filter(status="in_process").count()


def are_finished(ids: list[int]) -> bool:
    return Task.objects.filter(pk__in=ids, status="finished").count() == len(ids)


def begun(bench: Bench) -> list[int]:
    return [line["id"] for line in bench.journal("begun")]


def learn(bench: Bench, *processors_: processors.Recorded) -> None:
    """Let the manager learn that the tasks of a processor take no time."""
    bulk_delay(processors_)
    wait_until(lambda: finished() == len(processors_))
    Task.objects.all().delete()


def learn_to_wait(bench: Bench) -> None:
    bench.open("open")
    learn(bench, *(processors.WaitBriefly("open", index) for index in range(200)))
    (bench.folder / "journal").unlink()


def test_lower_numbers_run_first_and_equal_ones_in_order_of_enqueueing(bench: Bench):
    ids = [processors.Pass(number).delay(priority=number % 3 - 1).pk for number in range(30)]

    assert bench.start("--once", WORKERS_COUNT=1).ended() == 0

    assert begun(bench) == ids[0::3] + ids[1::3] + ids[2::3]


def test_priority_holds_over_many_claims(bench: Bench):
    numbers = [number * 37 % 100 for number in range(100)]
    of = {processors.Pass(number).delay(priority=number).pk: number for number in numbers}

    bench.start("--once", WORKERS_COUNT=1, MIN_QUEUE_SIZE=1, MAX_QUEUE_SIZE=3).ended()

    assert [of[pk] for pk in begun(bench)] == sorted(numbers)


def test_due_task_does_not_wait_for_one_of_higher_priority_that_is_scheduled(bench: Bench):
    processors.Pass("urgent").delay(priority=-9, execute_after=timezone.now() + timedelta(hours=1))
    due = processors.Pass("due").delay(priority=9)

    bench.start("--once").ended()

    assert begun(bench) == [due.pk]


@pytest.mark.parametrize("listen", [True, False])
def test_scheduled_tasks_start_on_time(bench: Bench, listen: bool):
    bench.ready(SLEEP_DELAY_SECONDS=1 if not listen else 30, LISTEN=listen)
    start = time.monotonic()
    now = timezone.now()
    at = {
        processors.Pass(delay).delay(execute_after=now + timedelta(seconds=delay)).pk: start + delay
        for delay in (0.5, 1.0, 1.5)
    }
    bench.wait_for("begun", 3)

    lateness = [line["at"] - at[line["id"]] for line in bench.journal("begun")]
    assert min(lateness) > -0.1
    assert max(lateness) < (1 if listen else 2)


def test_task_enqueued_while_the_manager_sleeps_starts_within_a_second(bench: Bench):
    bench.ready(SLEEP_DELAY_SECONDS=30)
    wait_until(is_asleep)

    for number in range(5):
        asked_at = time.monotonic()
        processors.Pass(number).delay()
        bench.wait_for("begun", number + 1, seconds=5)
        assert bench.journal("begun")[-1]["at"] - asked_at < 1


def test_task_enqueued_in_a_transaction_starts_within_a_second_of_its_commit(bench: Bench):
    bench.ready(SLEEP_DELAY_SECONDS=30)
    wait_until(is_asleep)

    with transaction.atomic():
        processors.Pass().delay()
        bulk_delay([processors.Pass(1), processors.Pass(2)])
        assert not bench.journal("begun")
    committed_at = time.monotonic()
    bench.wait_for("begun", 3, seconds=5)

    assert bench.journal("begun")[-1]["at"] - committed_at < 1


def test_task_enqueued_as_the_manager_falls_asleep_starts_within_a_second(bench: Bench):
    """Each pause of another length, so that some insert meets the moment of falling asleep."""
    bench.ready(SLEEP_DELAY_SECONDS=30, WORKERS_COUNT=1)

    for number in range(60):
        asked_at = time.monotonic()
        processors.Pass(number).delay()
        bench.wait_for("begun", number + 1, seconds=10)
        assert bench.journal("begun")[-1]["at"] - asked_at < 1
        let_pass(0.0005 * number)


def test_without_listen_the_table_is_polled(bench: Bench):
    bench.ready(LISTEN=False, SLEEP_DELAY_SECONDS=0.5)

    asked_at = time.monotonic()
    processors.Pass().delay()
    [line] = bench.wait_for("begun")

    assert line["at"] - asked_at < 1.5
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_partisan_manager WHERE sleeping")
        assert cursor.fetchone()[0] == 0


def test_max_queue_size_bounds_what_is_claimed_and_not_begun(bench: Bench):
    bench.ready(WORKERS_COUNT=2, MIN_QUEUE_SIZE=2, MAX_QUEUE_SIZE=5)
    bulk_delay(processors.Wait(f"gate{index}") for index in range(20))
    bench.wait_for("begun", 2)

    wait_until(lambda: in_process() == 5)
    for number, held in enumerate([7, 6, 5, 7, 6, 5, 7]):  # three more when only two have not begun
        bench.open(f"gate{number}")
        wait_until(lambda: (finished(), in_process()) == (number + 1, held))  # noqa: B023


def test_idle_worker_is_fed_whatever_the_sizes_are(bench: Bench):
    bench.ready(WORKERS_COUNT=4, MIN_QUEUE_SIZE=0, MAX_QUEUE_SIZE=1)
    bulk_delay(processors.Wait("gate", index) for index in range(6))

    bench.wait_for("begun", 4, seconds=5)


def test_tasks_that_wait_behind_a_long_one_go_to_an_idle_worker(bench: Bench):
    bench.ready()
    learn_to_wait(bench)
    ids = bulk_delay(
        [processors.WaitBriefly("gate"), *(processors.WaitBriefly("open", n) for n in range(20))]
    )

    bench.wait_for("ended", 20, seconds=5)
    first = bench.journal("begun")[0]["at"]
    assert max(line["at"] for line in bench.journal("ended")) - first < 0.5
    bench.open("gate")
    wait_until(lambda: finished() == len(ids))
    assert len(bench.journal("begun")) == 21


def test_what_a_stopped_worker_holds_waits_for_it_and_nothing_else_does(bench: Bench):
    manager = bench.ready()
    learn_to_wait(bench)
    processors.WaitBriefly("gate").delay()
    [stuck] = [line["pid"] for line in bench.wait_for("begun")]
    os.kill(stuck, signal.SIGSTOP)

    ids = bulk_delay(processors.Pass(index) for index in range(50))
    wait_until(lambda: Task.objects.filter(pk__in=ids, status="finished").count() >= 40, 5)
    os.kill(stuck, signal.SIGCONT)
    bench.open("gate")
    wait_until(lambda: finished() == 51, 5)

    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}
    assert manager.told("worker.exited") == []


def test_long_call_in_c_stalls_no_other_worker(bench: Bench):
    bench.ready()
    held = processors.HoldInterpreter(2).delay()
    bench.wait_for("begun")

    ids = bulk_delay(processors.Pass(index) for index in range(50))
    wait_until(lambda: Task.objects.filter(pk__in=ids, status="finished").count() == 50, 1.5)

    assert Task.objects.get(pk=held.pk).status == "in_process"


def test_tasks_recalled_from_a_worker_do_not_count_towards_its_recycling(bench: Bench):
    manager = bench.ready(TASKS_PER_WORKER_INSTANCE=250)
    learn_to_wait(bench)
    for number in range(4):
        gate = f"gate{number}"
        behind = [processors.WaitBriefly("open", number, index) for index in range(150)]
        ids = bulk_delay([processors.WaitBriefly(gate), *behind])
        wait_until(partial(are_finished, ids[1:]), 10)
        bench.open(gate)
        wait_until(partial(are_finished, ids), 10)

    assert {event["event.reason"] for event in manager.told("worker.exited")} == {"recycled"}


def test_worker_is_recycled_after_its_number_of_tasks(bench: Bench):
    manager = bench.ready(TASKS_PER_WORKER_INSTANCE=5)
    bulk_delay(processors.Pass(index) for index in range(40))
    wait_until(lambda: finished() == 40)

    runs: dict[int, int] = {}
    for line in bench.journal("begun"):
        runs[line["pid"]] = runs.get(line["pid"], 0) + 1
    assert max(runs.values()) == 5
    manager.wait_for("worker.exited", sum(count == 5 for count in runs.values()))
    assert {event["event.reason"] for event in manager.told("worker.exited")} == {"recycled"}
    assert Task.objects.filter(attempts=1, crashes=0).count() == 40


def test_completed_task_is_deleted_if_so_configured_and_a_failed_one_stays(bench: Bench):
    bulk_delay(
        [processors.Pass(), processors.Fail("kept"), processors.Atomic("complete"), processors.Postpone(1, 0)]
    )

    assert bench.start("--until-empty", DELETE_TASKS_ON_COMPLETE=True).ended() == 2

    assert [task.processor_class for task in Task.objects.all()] == ["Fail"]
    assert Note.objects.count() == 1


def test_due_task_that_somebody_has_locked_is_not_asked_for_without_pause(bench: Bench):
    manager = bench.ready(SLEEP_DELAY_SECONDS=1)
    with transaction.atomic():
        task = processors.OneArgument(1).delay()  # not committed yet: nobody sees it
    wait_until(lambda: Task.objects.filter(pk=task.pk, status="finished"))
    manager.send(signal.SIGSTOP)
    locked = processors.OneArgument(2).delay()
    with transaction.atomic():
        Task.objects.select_for_update().get(pk=locked.pk)
        manager.send(signal.SIGCONT)
        before = cpu_seconds(manager.pid)
        let_pass(1.5)
        assert cpu_seconds(manager.pid) - before < 0.4
        assert Task.objects.get(pk=locked.pk).status == "new"

    wait_until(lambda: Task.objects.filter(pk=locked.pk, status="finished"), 2)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
