"""Which rows are pruned, where a walk continues, and which manager prunes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import Error, connection
from django.utils import timezone

from django_partisan import registry
from django_partisan.models import Chore, ManagerLease, Task
from django_partisan.retention import FOREVER, Rules, rules, rules_of_age
from django_partisan.sql import pruning
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.pruning import Batch, ChoreState, Walk
from tests.support.registry import Idle
from tests.support.rows import register_manager
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db

DAY = 86_400.0
WEEK = 7 * DAY
DEADLINE_SECONDS = 60
DOOR = 4711
WAITS_AT_THE_DOOR = f"SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {DOOR} AND NOT granted"
OF_A_WEEK = rules_of_age(WEEK, ["finished", "error"])


def ended(days: float = 30, status: str = "finished", **values: Any) -> int:
    """Insert a task that ended ``days`` days ago, and was created an hour earlier; return its id."""
    moment = timezone.now() - timedelta(days=days)
    task = Task.objects.create(
        **{"processor_class": "Letter", "status": status, "finished_at": moment, **values}
    )
    created_at = moment - timedelta(hours=1)
    Task.objects.filter(pk=task.pk).update(created_at=created_at, updated_at=moment)
    return task.pk


def many(number: int, status: str = "finished", days: float = 30, queue: str = "default") -> None:
    execute(
        connection,
        """INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class,
                  priority, execute_after, arguments, extra, finished_at)
           SELECT %s, %s, moment, moment, 'Letter', 10, moment, '{}', '{}',
                  CASE WHEN %s IN ('finished', 'error') THEN moment END
             FROM generate_series(1, %s), (SELECT now() - %s * interval '1 day' AS moment) AS made""",
        (status, queue, status, number, days),
    )


def left() -> set[int]:
    return set(Task.objects.values_list("pk", flat=True))


def pruned(walk: Walk) -> dict[tuple[str, str], int]:
    """Walk to the end; return how many rows of each queue and status were deleted."""
    numbers: dict[tuple[str, str], int] = {}
    while True:
        batch = pruning.prune(connection, walk)
        for key, number in batch.numbers.items():
            numbers[key] = numbers.get(key, 0) + number
        if batch.is_over:
            return numbers
        assert batch.last > walk.after
        walk = walk._replace(after=batch.last)


def test_only_rows_that_ended_long_enough_ago_are_deleted_and_none_that_waits_or_runs():
    old, old_failed = ended(8), ended(8, "error", error_reason="cancelled")
    kept = {
        ended(6),
        ended(6, "error"),
        ended(8, "new", finished_at=None),
        ended(8, "in_process", finished_at=None),
        ended(8, "new"),  # whatever the other columns contain
        ended(8, "in_process"),
        ended(8, finished_at=None),  # from version 1
    }

    numbers = pruned(Walk(OF_A_WEEK))

    assert numbers == {("default", "finished"): 1, ("default", "error"): 1}
    assert left() == kept
    assert old not in kept
    assert old_failed not in kept


@pytest.mark.parametrize(
    ("queue", "processor", "status", "is_kept"),
    [
        ("mail", "Letter", "finished", False),
        ("mail", "Letter", "error", True),
        ("mail", "Brief", "finished", True),
        ("mail", "Brief", "error", True),
        ("mail", "Loud", "error", False),
        ("mail", "Loud", "finished", False),
        ("unknown", "Letter", "finished", True),
        ("unknown", "Letter", "error", False),
        ("not named", "Loud", "error", True),
    ],
)
def test_the_processors_setting_counts_then_the_queues_then_that_of_the_others(
    queue, processor, status, is_kept
):
    kept = Rules(
        {"Brief": {"finished": FOREVER}, "Loud": {"error": DAY}},
        {"mail": {"finished": WEEK, "error": FOREVER}},
        {"finished": FOREVER, "error": WEEK},
    )
    ended(8, status, queue_name=queue, processor_class=processor)

    pruned(Walk(kept, queues=("mail", "unknown")))

    assert bool(left()) is is_kept


def test_the_rules_come_from_the_settings_and_the_registered_processors(settings):
    settings.PARTISAN_CONFIG = {
        "default": {"KEEP_FAILED_SECONDS": 60},
        "mail": {"KEEP_FINISHED_SECONDS": None},
    }
    registry.register(type("Brief", (Idle,), {"KEEP_FINISHED_SECONDS": 5.5}))
    registry.register(type("Lasting", (Idle,), {"KEEP_FAILED_SECONDS": None}))
    registry.register(type("Plain", (Idle,), {}))

    found = rules()

    fortnight = 14 * DAY
    assert found.queues == {
        "default": {"finished": fortnight, "error": 60},
        "mail": {"finished": FOREVER, "error": FOREVER},
    }
    assert found.processors["Brief"] == {"finished": 5.5}
    assert found.processors["Lasting"] == {"error": FOREVER}
    assert "Plain" not in found.processors
    assert found.others == found.queues["default"]
    assert found.shortest == 5.5


def test_a_batch_reads_and_deletes_so_many_rows_and_the_next_continues_there():
    many(10)
    many(5, "new")
    first = Walk(OF_A_WEEK, rows=4, read=6)

    one = pruning.prune(connection, first)
    two = pruning.prune(connection, first._replace(after=one.last))

    assert (sum(one.numbers.values()), one.kept, one.is_over) == (4, 0, False)
    assert sum(two.numbers.values()) == 4
    assert pruned(first._replace(after=two.last)) == {("default", "finished"): 2}
    assert Task.objects.count() == 5


def test_a_walk_ends_at_rows_that_are_too_young_and_not_at_one_with_a_wrong_clock():
    many(6, days=30)
    Task.objects.update(created_at=timezone.now() + timedelta(days=500))
    many(6, days=30)
    many(6, days=1)
    last = max(left())
    many(6, days=30)

    numbers = pruned(Walk(OF_A_WEEK, rows=3, read=3))

    assert numbers == {("default", "finished"): 12}
    assert min(left()) <= last


def test_rows_of_version_1_are_deleted_only_when_asked_for_and_by_their_last_change():
    old = ended(8, finished_at=None)
    young, with_end = ended(6, finished_at=None), ended(8)
    walk = Walk(OF_A_WEEK, without_finished_at=True)

    assert pruning.count(connection, walk).numbers == {("default", "finished"): 1}
    assert pruned(walk) == {("default", "finished"): 1}

    assert left() == {young, with_end}
    assert old not in left()


def test_filters_select_by_queue_and_processor():
    ended(8), ended(8, processor_class="Bill")
    chosen = ended(8, queue_name="mail", processor_class="Bill")
    walk = Walk(OF_A_WEEK, queue="mail", processor="Bill")

    assert pruning.count(connection, walk).numbers == {("mail", "finished"): 1}
    assert pruned(walk) == {("mail", "finished"): 1}
    assert chosen not in left()
    assert len(left()) == 2


# Which manager prunes.


def take(manager: UUID, interval: float = 300, silent: float = 60) -> ChoreState | None:
    return pruning.take(connection, manager, interval, silent, 1000)


def batch_of(manager: UUID, **walk: Any) -> Batch | None:
    return pruning.prune_as(connection, manager, Walk(OF_A_WEEK, **walk), 0)


def aged(seconds: float) -> None:
    """Move the last batch ``seconds`` seconds into the past."""
    Chore.objects.update(last_at=timezone.now() - timedelta(seconds=seconds))


def test_one_manager_prunes_until_its_pass_is_over_and_the_next_pass_is_due_after_the_interval():
    one, other = register_manager(), register_manager()
    many(3)
    many(1, days=1)

    found = take(one)
    assert found is not None
    assert (found.wait_seconds, found.is_others, found.after) == (0, False, 0)
    waits = take(other)
    assert waits is not None
    assert waits.is_others
    assert 50 < waits.wait_seconds < 70
    assert batch_of(other) is None
    assert Task.objects.count() == 4

    batch = batch_of(one)

    assert batch is not None
    assert batch.is_over
    assert Task.objects.count() == 1
    for manager in (one, other):
        rests = take(manager)
        assert rests is not None
        assert not rests.is_others
        assert 290 < rests.wait_seconds < 310
    aged(301)
    due = take(other)
    assert due is not None
    assert due.wait_seconds <= 0


def test_rows_that_a_pass_leaves_delay_the_next():
    manager = register_manager()
    many(500, "new")
    take(manager)
    pruning.prune_as(connection, manager, Walk(OF_A_WEEK), 1_000_000)

    rests = take(manager)

    assert rests is not None
    assert 990 < rests.wait_seconds < 1010
    assert Chore.objects.values_list("cursor__kept").get() == (1_000_500,)


@pytest.mark.parametrize("how", ["released", "its lease expired", "its row is gone", "silent"])
def test_a_pass_that_a_manager_left_is_continued_by_another_where_it_stopped(how):
    one, other = register_manager(), register_manager()
    many(10)
    take(one)
    batch = batch_of(one, rows=4, read=4)
    assert batch is not None
    assert not batch.is_over
    waits = take(other)
    assert waits is not None
    assert waits.wait_seconds > 0

    if how == "released":
        pruning.release(connection, one)
    elif how == "its lease expired":
        ManagerLease.objects.filter(pk=one).update(heartbeat_at=timezone.now() - timedelta(seconds=31))
    elif how == "its row is gone":
        ManagerLease.objects.filter(pk=one).delete()
    else:
        aged(61)
    found = take(other)

    assert found is not None
    assert found.wait_seconds <= 0
    assert found.after == batch.last
    assert batch_of(one) is None, "it is another's now"
    rest = batch_of(other, after=found.after)
    assert rest is not None
    assert sum(rest.numbers.values()) == 6


def test_how_long_ago_rows_were_pruned_is_known():
    assert pruning.last_batch(connection) is None
    manager = register_manager()
    take(manager)
    aged(100)

    seconds, kept = pruning.last_batch(connection) or (0, 0)

    assert 90 < seconds < 130
    assert kept == 0


# Races, with separate transactions.


@pytest.mark.django_db(transaction=True)
def test_rows_that_another_transaction_locks_are_skipped_and_a_chore_that_is_locked_is_not_taken(second):
    locked, free = ended(8), ended(8)
    manager = register_manager()
    take(manager)
    execute(second, "BEGIN")
    execute(second, "SELECT FROM django_partisan_task WHERE id = %s FOR UPDATE", (locked,))

    batch = batch_of(manager)

    assert batch is not None
    assert (batch.kept, left()) == (1, {locked})
    assert free not in left()
    take(manager, interval=-1)
    execute(second, "SELECT FROM django_partisan_chore FOR UPDATE")
    assert take(manager) is None
    assert batch_of(manager) is None


@pytest.mark.django_db(transaction=True)
def test_a_locked_table_is_not_waited_for(second):
    manager = register_manager()
    take(manager)
    execute(second, "BEGIN")
    execute(second, "LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE")

    with pytest.raises(Error) as caught:
        pruning.prune_as(connection, manager, Walk(OF_A_WEEK), 0, is_patient=False)

    execute(second, "ROLLBACK")
    assert kind_of(caught.value) is ErrorKind.LOCKED


def wait_before_locking(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Make the statement wait for ``DOOR`` between reading the due rows and locking them."""
    changed = sql.replace(
        "FROM due JOIN", f"FROM (SELECT due.* FROM due, pg_advisory_xact_lock({DOOR})) AS due JOIN"
    )
    assert changed != sql
    return execute(changed, params, many, context)


def prune_through_the_door() -> int:
    with closing(open_connection("pruner")) as own:
        own.ensure_connection()
        execute(own, "SELECT FROM django_partisan_task LIMIT 1")
        with own.execute_wrapper(wait_before_locking):
            return sum(pruning.prune(own, Walk(OF_A_WEEK)).numbers.values())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "becomes",
    [
        {"status": "new", "finished_at": None},
        {"status": "new"},
        {"status": "in_process", "finished_at": None},
        {"status": "finished"},
        {"status": "error", "finished_at": timezone.now()},
    ],
    ids=["waiting", "waiting with an end", "running", "finished", "failed again"],
)
def test_a_row_that_is_written_between_reading_and_locking_it_is_not_deleted(second, becomes):
    changed, same = ended(8, "error"), ended(8, "error")
    execute(second, f"SELECT pg_advisory_lock({DOOR})")

    with ThreadPoolExecutor(1) as threads:
        deleted = threads.submit(prune_through_the_door)
        wait_until(lambda: fetch_all(second, WAITS_AT_THE_DOOR) or deleted.done())
        Task.objects.filter(pk=changed).update(**becomes)
        execute(second, f"SELECT pg_advisory_unlock({DOOR})")

        assert deleted.result(DEADLINE_SECONDS) == 1
    assert same not in left()
    assert left() == {changed}
