"""Managers prune one at a time, continue what a killed manager began, and keep the table bounded."""

import signal
import time

from django.db import connection

from django_partisan.models import Chore, Task
from django_partisan.processor import bulk_delay
from django_partisan.sql.connection import execute, fetch_all
from tests.app import partisan_tasks as processors
from tests.support.rows import number_of
from tests.support.waiting import let_pass, wait_until

from .managing import Bench, ManagerProcess

PATIENCE_SECONDS = 60.0
ROWS = """
    INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class, priority,
           execute_after, arguments, extra, finished_at)
    SELECT %s, 'default', moment, moment, 'Pass', 10, moment, '{"args": [], "kwargs": {}}', '{}',
           %s::timestamptz
      FROM generate_series(1, %s), (SELECT now() - interval '30 days' AS moment) AS made
"""
# A log of deletions, independent of managers: the task's id and the backend that deleted it.
LOG = """
    CREATE UNLOGGED TABLE pruned_log (id bigint, pid int);
    CREATE FUNCTION log_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO pruned_log SELECT id, pg_backend_pid() FROM old_rows; RETURN NULL; END $$;
    CREATE TRIGGER log_pruned AFTER DELETE ON django_partisan_task REFERENCING OLD TABLE AS old_rows
        FOR EACH STATEMENT EXECUTE FUNCTION log_pruned();
"""
NO_LOG = "DROP TRIGGER log_pruned ON django_partisan_task; DROP FUNCTION log_pruned(); DROP TABLE pruned_log"


def old(number: int, status: str = "finished", finished_at: str | None = "2020-01-01T00:00Z") -> None:
    execute(connection, ROWS, (status, finished_at, number))


def pruned_by(*managers: ManagerProcess) -> int:
    """Return how many rows managers logged as pruned."""
    lines = [line for manager in managers for line in manager.logged("task.pruned")]
    return sum(line["partisan.prune.finished"] + line["partisan.prune.failed"] for line in lines)


def test_two_managers_prune_every_row_once_one_at_a_time_and_leave_those_without_an_end(bench: Bench):
    old(3000)
    old(10, finished_at=None)
    old(5, "error")
    execute(connection, LOG)
    try:
        managers = [bench.ready(WORKERS_COUNT=1) for _ in range(2)]
        wait_until(lambda: Task.objects.count() == 15, PATIENCE_SECONDS)
        managers[0].wait_for("worker.ready")
        ids, backends = fetch_all(
            connection, "SELECT count(DISTINCT id), count(DISTINCT pid) FROM pruned_log"
        )[0]
        [(number,)] = fetch_all(connection, "SELECT count(*) FROM pruned_log")
        assert [manager.stop() for manager in managers] == [0, 0]
    finally:
        execute(connection, NO_LOG)

    assert (number, ids, backends) == (3000, 3000, 1), "by one connection, which is one manager's"
    assert number_of("error") == 5
    assert number_of("finished", finished_at=None) == 10
    assert pruned_by(*managers) == 3000


def test_rows_of_a_queue_that_the_settings_do_not_name_stay_also_while_nobody_serves_it(bench: Bench):
    old(20)
    Task.objects.update(queue_name="elsewhere")
    old(10)

    manager = bench.ready(WORKERS_COUNT=1)
    wait_until(lambda: manager.logged("task.pruned"), PATIENCE_SECONDS)

    assert manager.stop() == 0
    assert dict.fromkeys(Task.objects.values_list("queue_name", flat=True)) == {"elsewhere": None}
    assert Task.objects.count() == 20
    assert pruned_by(manager) == 10


def test_a_pass_of_a_killed_manager_is_continued_by_another(bench: Bench):
    keep = {"WORKERS_COUNT": 1, "KEEP_FINISHED_SECONDS": 5, "LEASE_SECONDS": 3}
    victim = bench.ready(**keep)
    wait_until(lambda: Chore.objects.filter(cursor__over=True), PATIENCE_SECONDS)
    neighbour = bench.ready(**keep)
    old(20_000)
    wait_until(lambda: 0 < 20_000 - Task.objects.count() < 15_000, PATIENCE_SECONDS)
    [by] = Chore.objects.values_list("cursor__by", flat=True)
    pids = dict(fetch_all(connection, "SELECT id::text, pid FROM django_partisan_manager"))
    first, other = (victim, neighbour) if pids[by] == victim.pid else (neighbour, victim)

    first.send_to_group(signal.SIGKILL)

    wait_until(
        lambda: not Task.objects.exists(),
        PATIENCE_SECONDS,
        lambda: f"{Task.objects.count()} rows are left: {Chore.objects.values()}",
        progress=Task.objects.count,
    )
    assert first.logged("task.pruned") == []
    assert sum(1 for _ in other.wait_for("task.pruned")) > 0
    assert pruned_by(other) < 20_000


def test_at_a_steady_rate_the_table_stays_bounded_and_every_task_runs(bench: Bench):
    rate, seconds = 100, 25
    bench.ready(WORKERS_COUNT=1, KEEP_FINISHED_SECONDS=2, LISTEN=True, MAX_QUEUE_SIZE=200, MIN_QUEUE_SIZE=50)
    sizes: list[int] = []
    began = time.monotonic()
    enqueued = 0
    while time.monotonic() < began + seconds:
        due = int((time.monotonic() - began) * rate) - enqueued
        if due >= rate // 4:
            bulk_delay(processors.Pass("steady", number) for number in range(enqueued, enqueued + due))
            enqueued += due
            sizes.append(number_of("finished"))
        let_pass(0.05)

    wait_until(lambda: not Task.objects.exists(), PATIENCE_SECONDS)
    # Rows are kept for two seconds, and passes are at most five seconds apart.
    assert max(sizes) < enqueued * 0.6, sizes
    assert len(bench.journal("begun")) == enqueued
