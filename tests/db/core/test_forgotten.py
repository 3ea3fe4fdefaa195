"""Claims with unflushed commits, which a crash of PostgreSQL may lose, and which of them are restored."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now
from django.utils import timezone

from django_partisan.cancelling import cancellation_for
from django_partisan.models import ManagerLease, Task
from django_partisan.sql import claiming, holding, leasing, own_claims, rescuing, settling
from django_partisan.sql.bulk_enqueueing import insert_tasks
from django_partisan.sql.cancelling import cancel
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.enqueueing import NewTask
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.forgotten import restore
from django_partisan.sql.own_claims import compare
from django_partisan.sql.requeueing import requeue
from django_partisan.sql.row_changes import Crash, RowChange
from django_partisan.sql.tokens import new_token
from tests.support.database import impatient_session, lock_waits, open_transaction
from tests.support.rows import (
    ARGUMENTS,
    claimed,
    columns,
    dead,
    forget,
    insert,
    kept,
    lock_of,
    pairs,
    register_manager,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)  # transaction times are compared

NOTE_AT_COMMIT = """
    CREATE TABLE noted (synchronous_commit text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO noted VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON django_partisan_task
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
    CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON django_partisan_manager
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
"""
NOTE_NO_MORE = "DROP TABLE noted; DROP FUNCTION note() CASCADE"
MANAGER = UUID(int=1)


@pytest.fixture
def durable() -> Iterator[BaseDatabaseWrapper]:
    """A session whose commits are flushed, on a server that records ``synchronous_commit`` at each commit."""
    with closing(open_connection("test")) as session:
        execute(session, NOTE_AT_COMMIT)
        execute(session, "SET synchronous_commit = on")
        yield session
        execute(session, NOTE_NO_MORE)


def claim(session: BaseDatabaseWrapper, rows: list[TaskRow]) -> None:
    assert claiming.claim(session, "default", MANAGER, new_token(), 10)


def claim_behind(session: BaseDatabaseWrapper, rows: list[TaskRow]) -> None:
    assert claiming.claim(session, "default", MANAGER, new_token(), 10, (10, 0), ["Bill"])


def promote(session: BaseDatabaseWrapper, rows: list[TaskRow]) -> None:
    Task.objects.filter(status="new").update(ready=False)
    execute(session, "TRUNCATE noted")
    assert claiming.check_queue(session, "default", 10).promoted


def forget_and_restore(session: BaseDatabaseWrapper, rows: list[TaskRow]) -> None:
    forget(rows)
    execute(session, "TRUNCATE noted")
    assert restore(session, MANAGER, rows)


SYNCHRONOUS: dict[str, Callable[[BaseDatabaseWrapper, list[TaskRow]], object]] = {
    "register": lambda session, rows: leasing.register(session, uuid4(), "default", "", 1, uuid4(), 30),
    "heartbeat": lambda session, rows: leasing.heartbeat(session, "default", MANAGER),
    "rescue": lambda session, rows: rescuing.rescue(
        session, "default", uuid4(), new_token(), dead(proven=[MANAGER])
    ),
    "keep": lambda session, rows: own_claims.move_claims(session, "default", uuid4(), MANAGER),
    "claim again": lambda session, rows: own_claims.claim_again(session, MANAGER, pairs(rows), new_token()),
    "complete": lambda session, rows: settling.delete_completed(session, pairs(rows)),
    "change": lambda session, rows: settling.apply_changes(session, [RowChange(*pairs(rows)[0], "new")]),
    "release": lambda session, rows: settling.release(session, pairs(rows)),
    "crash": lambda session, rows: settling.count_crashes(session, [Crash(*pairs(rows)[0], new_token())]),
    "sleep": lambda session, rows: claiming.set_sleeping(session, MANAGER, True),
    "restore": forget_and_restore,
}


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (claim, "off"),
        (claim_behind, "off"),
        (promote, "off"),
        *((act, "on") for act in SYNCHRONOUS.values()),
    ],
    ids=["claim", "claim behind", "promotion", *SYNCHRONOUS],
)
def test_only_the_commits_of_claim_and_promotion_are_not_flushed(act, expected, durable):
    leasing.register(connection, MANAGER, "default", "elsewhere", 1, uuid4(), 30)
    rows = claimed(1, MANAGER)
    insert()
    execute(durable, "TRUNCATE noted")

    act(durable, rows)

    assert {row for (row,) in fetch_all(durable, "SELECT * FROM noted")} == {expected}
    assert fetch_all(durable, "SHOW synchronous_commit") == [("on",)], "it ends with the transaction"


def test_a_forgotten_claim_is_restored_in_place_under_its_token():
    one, other = register_manager(), register_manager()
    rows, kept, theirs = claimed(2, one), claimed(1, one), claimed(1, other)
    forget(rows)

    found = compare(connection, "default", one, [*rows, *kept, *theirs])

    assert sorted(found) == sorted(pairs(rows + kept))
    for row in rows:
        assert columns(row[ID], "status", "ready", "claim_token", "claimed_by") == (
            "in_process",
            False,
            row[TOKEN],
            one,
        )
    assert columns(theirs[0][ID], "claimed_by") == other


def test_a_scheduled_task_whose_promotion_was_forgotten_too_is_restored():
    one = register_manager()
    rows = claimed(1, one)
    forget(rows)
    Task.objects.update(ready=False)

    assert restore(connection, one, rows) == {rows[0][ID]}


def test_the_forgotten_claim_of_a_requeued_task_is_restored():
    one = register_manager()
    before = claimed(1, one)[0]
    settling.apply_changes(connection, [RowChange(*pairs([before])[0], "error", reason="error")])
    with transaction.atomic():  # the requeue's timestamp is the start of its transaction, which is earlier
        execute(connection, "SELECT pg_sleep(0.01)")
        assert requeue(connection, [before[ID]])
    requeued_at = columns(before[ID], "updated_at")
    rows = claiming.claim(connection, "default", one, new_token(), 1)
    forget(rows)
    Task.objects.update(updated_at=requeued_at)

    assert restore(connection, one, rows) == {before[ID]}


def test_a_manager_that_holds_nothing_restores_nothing(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert compare(connection, "default", uuid4(), []) == []


def test_a_manager_whose_row_is_gone_restores_nothing():
    one = register_manager()
    rows = claimed(1, one)
    forget(rows)
    ManagerLease.objects.all().delete()

    assert restore(connection, one, rows) == set()


def is_released(row: TaskRow) -> None:
    settling.release(connection, pairs([row]))


def is_postponed(row: TaskRow) -> None:
    settling.apply_changes(connection, [RowChange(row[ID], row[TOKEN], "new", postpones=1)])


def is_completed(row: TaskRow) -> None:
    settling.finish_completed(connection, kept([row]))


def is_deleted(row: TaskRow) -> None:
    settling.delete_completed(connection, pairs([row]))


def is_claimed_by_another(row: TaskRow) -> None:
    forget([row])
    assert claiming.claim(connection, "default", register_manager(), new_token(), 1)


def is_failed_by_another_and_requeued(row: TaskRow) -> None:
    is_claimed_by_another(row)
    token = columns(row[ID], "claim_token")
    settling.apply_changes(connection, [RowChange(row[ID], token, "error", reason="error")])
    assert requeue(connection, [row[ID]])


def is_cancelled(row: TaskRow) -> None:
    forget([row])
    assert cancel(connection, [row[ID]], cancellation_for(""))


def is_cancelled_and_requeued(row: TaskRow) -> None:
    is_cancelled(row)
    assert requeue(connection, [row[ID]])


def is_failed_by_another_without_a_run_and_requeued(row: TaskRow) -> None:
    is_claimed_by_another(row)
    token = columns(row[ID], "claim_token")
    failure = RowChange(row[ID], token, "error", attempts=0, reason="unsettleable")
    settling.apply_changes(connection, [failure])
    assert requeue(connection, [row[ID]])


def is_held_by_another_for_too_long_and_requeued(row: TaskRow) -> None:
    is_claimed_by_another(row)
    token = columns(row[ID], "claim_token")
    settling.apply_changes(connection, [RowChange.hold(row[ID], token, "unregistered")])
    assert holding.fail_expired(
        connection, "default", 0, 10, ("Unknown", "%s is unknown"), ("Expired", "late")
    )
    assert requeue(connection, [row[ID]])


def is_run_by_another_that_retries(row: TaskRow) -> None:
    is_claimed_by_another(row)
    token = columns(row[ID], "claim_token")
    settling.apply_changes(connection, [RowChange(row[ID], token, "new", retries=1)])


def has_another_attempt(row: TaskRow) -> None:
    forget([row])
    Task.objects.update(attempts=1)


def has_another_takeover(row: TaskRow) -> None:
    forget([row])
    Task.objects.update(takeovers=1)


def is_awaited_by_an_enqueuer(row: TaskRow) -> None:
    forget([row])
    assert insert(key=columns(row[ID], "unique_key")).is_duplicate


def is_put_off_by_an_enqueuer(row: TaskRow) -> None:
    is_awaited_by_an_enqueuer(row)
    Task.objects.update(execute_after=timezone.now() + timedelta(hours=1))


def is_awaited_by_an_enqueuer_of_many(row: TaskRow) -> None:
    forget([row])
    key = columns(row[ID], "unique_key")
    [(_, is_new)] = insert_tasks(connection, [NewTask("default", "Letter", 10, None, ARGUMENTS, None, key)])
    assert not is_new


def is_debounced_by_an_enqueuer(row: TaskRow) -> None:
    is_awaited_by_an_enqueuer(row)
    Task.objects.update(execute_after=Now())


@pytest.mark.parametrize(
    "act",
    [
        is_released,
        is_postponed,
        is_completed,
        is_deleted,
        is_claimed_by_another,
        is_run_by_another_that_retries,
        is_failed_by_another_and_requeued,
        is_cancelled,
        is_cancelled_and_requeued,
        is_failed_by_another_without_a_run_and_requeued,
        is_held_by_another_for_too_long_and_requeued,
        has_another_attempt,
        has_another_takeover,
        is_awaited_by_an_enqueuer,
        is_awaited_by_an_enqueuer_of_many,
        is_put_off_by_an_enqueuer,
        is_debounced_by_an_enqueuer,
    ],
)
def test_what_was_written_since_the_claim_is_not_restored(act):
    one = register_manager()
    rows = claimed(1, one, key=uuid4())
    act(rows[0])
    before = list(Task.objects.values())

    assert restore(connection, one, rows) == set()

    assert list(Task.objects.values()) == before


def test_a_row_that_others_lock_is_skipped_or_waited_for():
    one = register_manager()
    rows = claimed(2, one)
    forget(rows)

    with open_transaction(lock_of(rows[0][ID])):
        with pytest.raises(OperationalError) as caught:
            restore(connection, one, rows, lock_timeout_ms=20)
        with transaction.atomic():
            execute(connection, "SET LOCAL lock_timeout = 500")
            assert restore(connection, one, rows) == {rows[1][ID]}

    assert kind_of(caught.value) is ErrorKind.LOCKED
    assert restore(connection, one, rows, lock_timeout_ms=20) == {rows[0][ID]}


def test_a_comparison_waits_for_locks_that_end_soon():
    """A promotion locks rows for milliseconds; its commit may be the first one after the crash."""
    one = register_manager()
    rows = claimed(2, one)
    forget(rows)

    with closing(open_connection("other")) as other, ThreadPoolExecutor(1) as threads:
        other.set_autocommit(False)
        execute(other, f"UPDATE django_partisan_task SET ready = true WHERE id = {rows[0][ID]}")
        found = threads.submit(compare_in_a_thread, one, rows)
        wait_until(lambda: found.done() or lock_waits())
        other.commit()

        assert sorted(found.result()) == sorted(pairs(rows))


def compare_in_a_thread(manager: UUID, rows: list[TaskRow]) -> list[own_claims.Pair]:
    with closing(open_connection("comparing")) as session:
        return compare(session, "default", manager, rows, lock_timeout_ms=20_000)


def test_a_comparison_skips_rows_whose_locks_last():
    one = register_manager()
    rows = claimed(2, one)
    forget(rows)

    with open_transaction(lock_of(rows[0][ID])):
        assert compare(connection, "default", one, rows, lock_timeout_ms=20) == pairs(rows[1:])


def test_other_errors_of_a_comparison_are_raised():
    one = register_manager()
    rows = claimed(1, one)

    with impatient_session(20) as other, transaction.atomic(), pytest.raises(OperationalError) as caught:
        execute(connection, "LOCK TABLE django_partisan_task")
        compare(other, "default", one, rows, lock_timeout_ms=20_000)

    assert kind_of(caught.value) is ErrorKind.CANCELLED
