"""An outcome that PostgreSQL refuses affects no other, and an outage loses nothing."""

import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from django.db import InternalError, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.outage import Outage, SharedOutage
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.outcome_writing import Kind, WriteResult
from django_partisan.engine.settling import write, write_all, write_part
from django_partisan.models import Task
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import execute
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import STATUS_ERROR, STATUS_NEW, Crash, Item, RowChange
from django_partisan.sql.tokens import new_token
from tests.support.database import impatient_session, open_transaction
from tests.support.engine import MANAGER, FakeDatabaseThread, config_of
from tests.support.rows import claimed, columns, duplicate_of, insert, kept, lock_of, pairs, statuses_of
from tests.support.triggers import refusing, slow

NOTHING_FOUND = WriteResult([], [], [], [])

pytestmark = pytest.mark.django_db(transaction=True)


def changes_of(rows: list[TaskRow], status: str = STATUS_NEW, **more: Any) -> list[RowChange]:
    return [RowChange(row[ID], row[TOKEN], status, **more) for row in rows]


def statuses(rows: list[TaskRow]) -> list[str | None]:
    return statuses_of(*(row[ID] for row in rows))


def _ids(items: Sequence[Item]) -> list[int]:
    return [item[0] for item in items]


def refuse(table_condition: str) -> None:
    """Make PostgreSQL refuse rows that do not meet a condition."""
    execute(connection, f"ALTER TABLE django_partisan_task ADD CONSTRAINT refused CHECK ({table_condition})")


@pytest.fixture(autouse=True)
def table_as_it_was():
    yield
    execute(connection, "ALTER TABLE django_partisan_task DROP CONSTRAINT IF EXISTS refused")


def test_a_task_that_cannot_even_be_set_aside_fails_without_counting_an_attempt():
    [row] = claimed(1)
    refuse("held IS NULL")

    written = write(connection, Kind.CHANGED, [RowChange.hold(row[ID], row[TOKEN], "unregistered")])

    assert [task_id for task_id, _ in written.unsettleable] == [row[ID]]
    assert columns(row[ID], "status", "error_reason", "attempts") == ("error", "unsettleable", 0)


def test_of_500_outcomes_one_that_is_refused_fails_alone():
    rows = claimed(500)
    mixed = changes_of(rows, postpones=1)
    mixed[123] = mixed[123]._replace(context="{")

    written = write(connection, Kind.CHANGED, mixed)

    culprit = mixed[123].id
    assert [task_id for task_id, _ in written.unsettleable] == [culprit]
    assert written.lost == []
    assert Task.objects.filter(status="new", postpones=1).count() == 499
    failed = Task.objects.get(status="error")
    assert (failed.pk, failed.error_reason) == (culprit, "unsettleable")
    assert failed.error_type == "django_partisan.exceptions.Unsettleable"
    assert "refused the outcome: invalid input syntax for type json" in str(failed.error_message)


def test_results_are_settled_with_the_rows_that_are_kept_also_after_other_runs():
    first, repeated, without = claimed(3)
    [returned, other] = kept([first, without])
    done: list[Item] = [(returned[0], returned[1], returned[2], returned[3], '{"a": [1]}'), other]
    run = EndedRun(time.monotonic() - 0.5, 0.5, "elsewhere:17")

    written = [
        write(connection, Kind.KEPT, done),
        write(connection, Kind.CHANGED, [RowChange.complete(repeated[ID], repeated[TOKEN], run, "[2]")]),
    ]

    assert written == [NOTHING_FOUND, NOTHING_FOUND]
    rows = [columns(row[ID], "status", "result", "attempts") for row in (first, without, repeated)]
    assert rows == [("finished", {"a": [1]}, 1), ("finished", None, 1), ("finished", [2], 1)]
    assert [entry["outcome"] for entry in columns(repeated[ID], "history")] == ["completed"]


def test_a_task_that_waits_again_and_has_a_duplicate_gives_up_its_key_and_both_stay():
    key = uuid4()
    rows = claimed(1, key=key)
    duplicate = insert(key=key)
    others = claimed(3)

    written = write(connection, Kind.CHANGED, changes_of([*others, *rows]))

    assert written == NOTHING_FOUND
    assert statuses_of(duplicate.pk, rows[0][ID]) == ["new", "new"]
    assert Task.objects.get(unique_key=key) == duplicate


def test_a_task_that_has_a_duplicate_and_is_refused_without_its_key_too_fails():
    key = uuid4()
    rows = claimed(1, key=key)
    insert(key=key)
    refuse("postpones < 1")

    written = write(connection, Kind.CHANGED, changes_of(rows, postpones=1))

    assert [task_id for task_id, _ in written.unsettleable] == [rows[0][ID]]
    assert statuses(rows) == ["error"]


@pytest.mark.parametrize(
    ("condition", "status"),
    [("status <> 'finished'", "error"), ("status = 'in_process'", "in_process")],
    ids=["a completion", "a completion and even a failure"],
)
def test_a_completion_that_is_refused_holds_up_no_other(condition: str, status: str):
    rows = claimed(4)
    refuse(f"{condition} OR id <> {rows[2][ID]}")

    written = write(connection, Kind.KEPT, kept(rows))

    assert [task_id for task_id, _ in written.unsettleable] == [rows[2][ID]]
    assert statuses(rows) == ["finished", "finished", status, "finished"]


def test_claims_that_were_lost_are_returned_by_each_kind_of_write():
    [row] = claimed()
    stale = (row[ID], row[TOKEN] + 1000)
    items: dict[Kind, Item] = {
        Kind.COMPLETED: stale,
        Kind.KEPT: (*stale, 0, "", None),
        Kind.CRASHED: Crash(*stale, 1),
        Kind.CHANGED: RowChange(*stale, STATUS_ERROR),
        Kind.RELEASED: stale,
    }

    for kind, item in items.items():
        assert write(connection, kind, [item]).lost == [row[ID]]

    assert statuses([row]) == ["in_process"]


def test_after_a_lost_answer_what_was_written_by_the_first_try_is_not_a_lost_claim():
    rows = claimed(4)
    crash = Crash(*pairs(rows)[2], new_token())
    items: list[tuple[Kind, list[Item]]] = [
        (Kind.COMPLETED, [*pairs(rows[:1])]),
        (Kind.CHANGED, [*changes_of(rows[1:2])]),
        (Kind.CRASHED, [crash]),
        (Kind.RELEASED, [*pairs(rows[3:])]),
    ]
    for kind, some in items:
        write(connection, kind, some)

    for kind, some in items:
        assert write(connection, kind, some, again=True) == NOTHING_FOUND

    assert columns(crash.id, "claim_token", "crashes") == (crash.new_token, 1)


def test_released_tasks_wait_again_and_one_with_a_duplicate_gives_up_its_key():
    key = uuid4()
    rows = [*claimed(2), *claimed(1, key=key)]
    insert(key=key)

    assert write(connection, Kind.RELEASED, pairs(rows)) == NOTHING_FOUND

    assert statuses(rows) == ["new", "new", "new"]


def test_a_settler_writes_all_that_gathered():
    deleted, done, crashed, postponed, released = claimed(5)
    thread = FakeDatabaseThread()
    counted: list[TaskRow | None] = []
    settler = Settler(
        config_of(),
        thread,
        Outage(SharedOutage("default")),
        lambda seconds: None,
        lambda: MANAGER,
        QueuePause(),
    )
    settler.complete([deleted])
    settler.keep_completed([done], [(0, "elsewhere:17", "[1]")])
    settler.count_crash(crashed, new_token(), counted.append)
    settler.settle(postponed, *changes_of([postponed], postpones=1))
    settler.release([released])
    settler.stop()

    settler.turn(time.monotonic())
    thread.answer(thread.call(connection))

    assert statuses([deleted, done, crashed, postponed, released]) == [
        None, "finished", "in_process", "new", "new",
    ]  # fmt: skip
    assert columns(done[ID], "worker", "result") == ("elsewhere:17", [1])
    [again] = counted
    assert again is not None
    assert columns(crashed[ID], "claim_token", "crashes") == (again[TOKEN], 1)
    assert (settler.released, settler.is_idle) == (1, True)


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_to_write_asks_nothing(kind: Kind, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert write(connection, kind, []) == NOTHING_FOUND
        assert write_all(connection, kind, []) == []


def test_a_database_that_became_a_standby_fails_no_task():
    rows = claimed(3)
    execute(connection, "SET default_transaction_read_only = on")
    try:
        with pytest.raises(InternalError, match="read-only"):
            write(connection, Kind.KEPT, kept(rows))
        with pytest.raises(InternalError, match="read-only"):
            write(connection, Kind.CHANGED, changes_of(rows[:1], context="{}"))
    finally:
        execute(connection, "SET default_transaction_read_only = off")

    assert statuses(rows) == ["in_process"] * 3


def test_a_database_that_goes_away_is_raised_also_while_a_refused_outcome_is_failed():
    rows = claimed(2)
    refuse("status <> 'new'")

    with (
        refusing("UPDATE", "NEW.status = 'error'", "57P01"),
        pytest.raises(OperationalError, match="as asked"),
    ):
        write(connection, Kind.CHANGED, changes_of(rows))

    assert statuses(rows) == ["in_process"] * 2


@pytest.mark.parametrize("kind", [Kind.CHANGED, Kind.RELEASED])
def test_a_task_whose_duplicate_another_transaction_holds_alone_gives_up_its_key(kind: Kind):
    key, others = uuid4(), claimed(20, key=None)
    [row] = claimed(key=key)
    rows = [*others[:11], row, *others[11:]]
    kept = [uuid4() for _ in others]
    for other, own in zip(others, kept, strict=True):
        Task.objects.filter(pk=other[ID]).update(unique_key=own)
    items: list[Item] = [*(changes_of(rows, postpones=1) if kind is Kind.CHANGED else pairs(rows))]

    with open_transaction(duplicate_of(key)):
        first = write(connection, kind, items)
        assert first.delayed == [row[ID] for row in rows]
        began = time.monotonic()
        assert write_all(connection, kind, items) == []
        seconds = time.monotonic() - began

    assert seconds < 3
    assert set(statuses(rows)) == {"new"}
    assert columns(row[ID], "unique_key") is None
    assert {columns(other[ID], "unique_key") for other in others} == set(kept)


@pytest.mark.parametrize("kind", list(Kind))
def test_rows_that_others_lock_hold_up_no_other(kind: Kind):
    rows = claimed(8)
    items: list[Item] = [*pairs(rows)]
    if kind is Kind.CRASHED:
        items = [Crash(*pair, pair[1] + 1000) for pair in pairs(rows)]
    elif kind is Kind.KEPT:
        items = [*kept(rows)]
    elif kind is Kind.CHANGED:
        items = [*changes_of(rows)]
    others = [*items[:2], *items[3:]]

    with open_transaction(lock_of(rows[2][ID])):
        assert write_all(connection, kind, items) == [items[2]]
        assert write_part(connection, kind, [items[2]]) == WriteResult([], [], [], [rows[2][ID]])
        assert columns(rows[2][ID], "status", "claim_token") == ("in_process", rows[2][TOKEN])
        assert write(connection, kind, others, again=True).lost == []

    assert write_part(connection, kind, [items[2]]) == NOTHING_FOUND
    assert not Task.objects.filter(pk=rows[2][ID], status="in_process", claim_token=rows[2][TOKEN]).exists()


def test_a_locked_table_is_for_later_and_is_waited_for_no_longer_than_a_row():
    rows = claimed(3)
    with open_transaction("LOCK TABLE django_partisan_task"):
        assert write(connection, Kind.KEPT, kept(rows)).delayed == [row[ID] for row in rows]
        written = write_part(connection, Kind.KEPT, kept(rows))

    assert (written.delayed, written.later) == ([], [row[ID] for row in rows])


@pytest.fixture
def impatient() -> Iterator[BaseDatabaseWrapper]:
    with impatient_session(300) as made:
        yield made


def test_what_takes_too_long_at_once_is_written_in_parts(impatient):
    rows = claimed(16)

    with slow(0.05):
        assert write(impatient, Kind.KEPT, kept(rows)).delayed == [row[ID] for row in rows]
        assert write_all(impatient, Kind.KEPT, kept(rows)) == []

    assert set(statuses(rows)) == {"finished"}


def test_one_task_that_takes_too_long_is_for_later_with_what_to_set(impatient):
    rows = claimed(4)

    with slow(2, f"NEW.id = {rows[1][ID]}"):
        assert _ids(write_all(impatient, Kind.KEPT, kept(rows))) == [rows[1][ID]]
        written = write(impatient, Kind.KEPT, kept(rows[1:2]))

    assert (written.delayed, written.later) == ([], [rows[1][ID]])
    assert "ALTER ROLE ... SET statement_timeout" in str(written.error)
    assert statuses(rows) == ["finished", "in_process", "finished", "finished"]


def test_an_outcome_that_is_refused_and_whose_failure_has_to_wait_is_held_up_and_then_fails():
    rows = claimed(3)
    refuse(f"status <> 'finished' OR id <> {rows[1][ID]}")

    with refusing("UPDATE", "NEW.status = 'error'", "55P03"):
        first = write(connection, Kind.KEPT, kept(rows))
    second = write_part(connection, Kind.KEPT, kept(rows[1:]))

    assert (first.unsettleable, first.delayed) == ([], [row[ID] for row in rows[1:]])
    assert [task_id for task_id, _ in second.unsettleable] == [rows[1][ID]]
    assert statuses(rows) == ["finished", "error", "finished"]


def test_a_completion_that_waits_for_another_lock_than_the_rows_is_for_later():
    rows = claimed(2)

    with refusing("UPDATE", f"NEW.status = 'finished' AND NEW.id = {rows[0][ID]}", "55P03"):
        assert _ids(write_all(connection, Kind.KEPT, kept(rows))) == [rows[0][ID]]

    assert statuses(rows) == ["in_process", "finished"]


def test_a_task_that_has_a_duplicate_and_is_refused_without_its_key_for_another_reason_fails():
    key = uuid4()
    rows = claimed(1, key=key)
    insert(key=key)

    with refusing("UPDATE", "NEW.status = 'new' AND NEW.unique_key IS NULL"):
        written = write(connection, Kind.RELEASED, pairs(rows))

    [(task_id, error)] = written.unsettleable
    assert (task_id, "refused the outcome: as asked" in error.message) == (rows[0][ID], True)
    assert columns(rows[0][ID], "status", "attempts") == ("error", 0)


def test_values_that_postgresql_cannot_even_compare_hold_up_nothing():
    written = write_part(connection, Kind.KEPT, [(1, 2**70, 0, "", None)])

    assert [task_id for task_id, _ in written.unsettleable] == [1]


def test_a_look_at_locks_that_takes_too_long_is_halved():
    rows = claimed(2)
    with impatient_session(5) as impatient, open_transaction("LOCK TABLE django_partisan_task"):
        written = write_part(impatient, Kind.KEPT, kept(rows))

    assert (written.delayed, written.later) == ([row[ID] for row in rows], [])
    assert written.is_cancelled
