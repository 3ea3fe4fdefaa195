"""Outcomes under claims that PostgreSQL lost in a crash are written once, unless others took the tasks."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_partisan.engine.manager.batch_writing import write_parts
from django_partisan.engine.manager.delayed_outcomes import Entry, Part
from django_partisan.engine.manager.outage import PAUSE_AT_MOST_SECONDS, Outage, SharedOutage
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.outcome_writing import Kind
from django_partisan.models import Task
from django_partisan.sql import leasing
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.tokens import new_token
from django_partisan.telemetry.events.queues import TasksReleased
from django_partisan.telemetry.events.tasks import TaskClaimLost
from tests.support.database import open_transaction
from tests.support.engine import AWAY, MANAGER, FakeDatabaseThread, config_of
from tests.support.events import RecordedEvents
from tests.support.rows import (
    claim,
    claimed,
    columns,
    duplicate_of,
    forget,
    insert,
    lock_of,
    register_manager,
    statuses_of,
)
from tests.support.triggers import refusing

pytestmark = pytest.mark.django_db(transaction=True)


def ids(rows: Sequence[TaskRow]) -> list[int]:
    return [row[ID] for row in rows]


def refusing_restored(code: str, task_id: int | None = None) -> AbstractContextManager[None]:
    """Raise an error in PostgreSQL when a row becomes in process: for every row, or for one."""
    which = "" if task_id is None else f" AND NEW.id = {task_id}"
    return refusing("UPDATE", f"OLD.status = 'new' AND NEW.status = 'in_process'{which}", code)


class Harness:
    """A settler with four outcomes of a manager's runs: completed, crashed, postponed and released."""

    def __init__(self) -> None:
        leasing.register(connection, MANAGER, "default", "elsewhere", 1, uuid4(), 30)
        self.rows = done, crashed, postponed, released = claimed(4, MANAGER)
        self.thread = FakeDatabaseThread()
        self.counted: list[TaskRow | None] = []
        self.settler = Settler(
            config_of(),
            self.thread,
            Outage(SharedOutage("default")),
            lambda seconds: None,
            lambda: MANAGER,
            QueuePause(),
        )
        self.settler.keep_completed([done], [(0, "elsewhere:17", None)])
        self.settler.count_crash(crashed, new_token(), self.counted.append)
        change = RowChange(postponed[ID], postponed[TOKEN], "new", postpones=1)
        self.settler.settle(postponed, change.after("postponed"))
        self.settler.release([released])

    def write(self, later: float = 0.0) -> None:
        self.settler.turn(time.monotonic() + later)
        self.thread.answer(self.thread.call(connection))

    def write_until_unsettled(self, number: int) -> None:
        """Write until only this many outcomes are unwritten, with a sufficient number of attempts."""
        for _ in range(20):
            if self.settler.unsettled > number:
                self.write(later=PAUSE_AT_MOST_SECONDS)
        assert self.settler.unsettled == number


@pytest.fixture
def harness() -> Harness:
    return Harness()


def are_written(harness: Harness) -> bool:
    [again] = harness.counted
    assert again is not None
    assert columns(again[ID], "claim_token", "crashes") == (again[TOKEN], 1)
    assert [columns(row[ID], "attempts", "postpones") for row in harness.rows[2:]] == [(1, 1), (0, 0)]
    histories = [columns(row[ID], "history") for row in harness.rows]
    assert [[(entry["outcome"], entry.get("count")) for entry in history or []] for history in histories] == [
        [],
        [("crashed", None)],
        [("postponed", None)],
        [],
    ]
    assert statuses_of(*ids(harness.rows)) == ["finished", "in_process", "new", "new"]
    return harness.settler.is_idle


def test_outcomes_of_runs_whose_claims_were_forgotten_are_written(
    harness: Harness, recorded_events: RecordedEvents
):
    forget(harness.rows)

    harness.write()

    assert are_written(harness)
    assert recorded_events.of(TaskClaimLost) == []


def test_outcomes_that_were_forgotten_with_their_claims_are_written_again(
    harness: Harness, recorded_events: RecordedEvents
):
    harness.settler.turn(time.monotonic())
    harness.thread.answer(AWAY)
    forget(harness.rows)

    harness.write(later=PAUSE_AT_MOST_SECONDS)

    assert are_written(harness)
    assert recorded_events.of(TaskClaimLost) == []


def test_outcomes_that_were_kept_though_their_answer_was_lost_are_not_written_again(harness: Harness):
    harness.settler.turn(time.monotonic())
    harness.thread.call(connection)
    harness.thread.answer(AWAY)

    harness.write(later=PAUSE_AT_MOST_SECONDS)

    assert are_written(harness)


def test_a_forgotten_outcome_is_lost_if_the_task_was_enqueued_again(
    harness: Harness, recorded_events: RecordedEvents
):
    harness.settler.turn(time.monotonic())
    harness.thread.answer(AWAY)
    forget(harness.rows)
    key = uuid4()
    Task.objects.filter(pk=harness.rows[0][ID]).update(unique_key=key)
    assert insert(key=key).is_duplicate

    harness.write(later=PAUSE_AT_MOST_SECONDS)

    assert statuses_of(harness.rows[0][ID]) == ["new"]
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == [harness.rows[0][ID]]


def test_outcomes_of_forgotten_claims_wait_for_who_locks_the_rows(harness: Harness):
    forget(harness.rows)
    with refusing_restored("55P03"):
        harness.write()
    assert harness.settler.unsettled == 3, "a task to be released waits already"
    assert statuses_of(*ids(harness.rows)) == ["new"] * 4

    while not harness.settler.is_idle:
        harness.write(later=PAUSE_AT_MOST_SECONDS)

    assert are_written(harness)


@pytest.mark.parametrize("sqlstate", ["55P03", "57014"], ids=["locked", "cancelled"])
def test_a_claim_that_cannot_be_restored_holds_up_no_other_outcome(sqlstate: str, harness: Harness):
    more = claimed(4, MANAGER)
    harness.settler.keep_completed(more, [(0, "elsewhere:17", None)] * 4)
    forget([*harness.rows, *more])

    with refusing_restored(sqlstate, more[2][ID]):
        harness.write_until_unsettled(1)

    assert statuses_of(*ids(more)) == ["finished", "finished", "new", "finished"]
    harness.write_until_unsettled(0)
    assert are_written(harness)
    assert statuses_of(*ids(more)) == ["finished"] * 4


@pytest.mark.parametrize("kind", [Kind.CHANGED, Kind.RELEASED])
def test_who_locks_a_row_is_found_though_another_task_gives_up_its_key(kind: Kind):
    key, manager = uuid4(), register_manager()
    [row], [locked] = claimed(1, manager, key=key), claimed(1, manager)
    what = [RowChange(each[ID], each[TOKEN], "new", postpones=1) for each in (row, locked)]
    entries: list[Entry] = [*zip((row, locked), what if kind is Kind.CHANGED else (None, None), strict=True)]

    with open_transaction(lock_of(locked[ID]), duplicate_of(key)):
        [written] = write_parts(connection, [Part(kind, entries, is_retry=True)], manager)

    assert written.left == [locked[ID]]
    assert "idle in transaction" in written.blockers
    assert columns(row[ID], "status", "unique_key") == ("new", None)


def test_who_locks_the_table_is_found():
    manager = register_manager()
    rows = claimed(3, manager)
    part = Part(Kind.COMPLETED, [(row, None) for row in rows], is_retry=True)

    with open_transaction("LOCK TABLE django_partisan_task"):
        [written] = write_parts(connection, [part], manager)

    assert written.later == ids(rows)
    assert "idle in transaction" in written.blockers


def test_who_locks_a_row_is_not_looked_up_before_the_outcomes_are_tried_apart():
    manager = register_manager()
    rows = claimed(2, manager)
    part = Part(Kind.COMPLETED, [(row, None) for row in rows])

    with open_transaction(lock_of(rows[0][ID])), CaptureQueriesContext(connection) as asked:
        [written] = write_parts(connection, [part], manager)

    assert written.delayed == ids(rows)
    assert [query for query in asked if "pg_locks" in query["sql"]] == []


@pytest.mark.parametrize("is_again", [False, True])
def test_who_locks_the_row_of_a_forgotten_claim_is_found(is_again: bool):
    manager = register_manager()
    [row] = claimed(1, manager)
    forget([row])
    part = Part(Kind.COMPLETED, [(row, None)], again=is_again, is_retry=True)

    with open_transaction(lock_of(row[ID])):
        [written] = write_parts(connection, [part], manager)

    assert written.later == [row[ID]]
    assert "(django_partisan other, idle in transaction, open for" in written.blockers


def test_who_locks_a_row_is_found_though_the_claim_of_another_was_forgotten():
    manager = register_manager()
    forgotten, locked = claimed(2, manager)
    forget([forgotten])
    part = Part(Kind.COMPLETED, [(forgotten, None), (locked, None)], is_retry=True)

    with open_transaction(lock_of(locked[ID])):
        [written] = write_parts(connection, [part], manager)

    assert (written.lost, written.later) == ([], [locked[ID]])
    assert "(django_partisan other, idle in transaction, open for" in written.blockers


@pytest.mark.parametrize("is_again", [False, True])
def test_a_task_to_be_released_whose_claim_was_forgotten_stays_as_it_is(
    is_again: bool, harness: Harness, recorded_events: RecordedEvents
):
    if is_again:
        harness.settler.turn(time.monotonic())
        harness.thread.answer(AWAY)
    forget(harness.rows)
    released = harness.rows[3][ID]
    before = columns(released, "status", "updated_at")

    harness.write(later=PAUSE_AT_MOST_SECONDS)

    assert columns(released, "status", "updated_at") == before
    assert [event for event in recorded_events.of(TasksReleased) if not event.number] == []
    assert are_written(harness)


def test_other_errors_in_the_search_for_forgotten_claims_are_an_outage(harness: Harness):
    forget(harness.rows)
    harness.settler.turn(time.monotonic())

    with refusing_restored("53200"), pytest.raises(OperationalError), transaction.atomic():
        harness.thread.call(connection)


def test_the_outcome_of_a_run_whose_forgotten_claim_another_manager_made_is_not_written(
    harness: Harness, recorded_events: RecordedEvents
):
    forget(harness.rows)
    theirs = claim(connection, "default", register_manager(), 4)

    harness.write()

    assert statuses_of(*ids(theirs)) == ["in_process"] * 4
    assert [columns(row[ID], "claim_token") for row in theirs] == [row[TOKEN] for row in theirs]
    assert len(recorded_events.of(TaskClaimLost)) == 3, "and the release of a task that did not run"
    assert harness.counted == [None]
