"""An outcome is written under the claim that it belongs to, or not at all."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone as django_timezone

from django_partisan.models import Task
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.row_changes import Crash, RowChange
from django_partisan.sql.settling import apply_changes, count_crashes, locked_by_others, release
from tests.support.rows import claim, claim_one, columns, insert, kept, pairs, settle_completed, statuses

pytestmark = pytest.mark.django_db

EVERYTHING = [field.attname for field in Task._meta.concrete_fields]


@pytest.fixture
def row(manager) -> TaskRow:
    insert()
    return claim_one(manager())


@pytest.fixture
def rows(manager) -> list[TaskRow]:
    for _ in range(3):
        insert()
    return claim(connection, "default", manager(), 3)


def outcome(row: TaskRow, status: str = "new", **more: Any) -> RowChange:
    return RowChange(row[ID], row[TOKEN], status, **more)


def crash_of(row: TaskRow) -> Crash:
    return Crash(row[ID], row[TOKEN], row[TOKEN] + 1000)


def stale(row: TaskRow) -> tuple[int, int]:
    """Return the id and the token of the claim before the current one."""
    return row[ID], row[TOKEN] - 1


def _under_old_token(row: TaskRow) -> TaskRow:
    columns_ = list(row)
    columns_[TOKEN] = row[TOKEN] - 1
    return tuple(columns_)  # type: ignore[return-value]


def everything(task_id: int) -> Any:
    return columns(task_id, *EVERYTHING)


def test_completed_tasks_are_finished_at_the_time_of_the_database(rows, monkeypatch):
    monkeypatch.setattr(django_timezone, "now", lambda: datetime(1999, 1, 1, tzinfo=timezone.utc))

    assert settle_completed(connection, kept(rows), delete=False) == []
    assert set(statuses().values()) == {"finished"}
    attempts, finished_at = columns(rows[0][ID], "attempts", "finished_at")
    assert (attempts, finished_at.year > 1999) == (1, True)


@pytest.mark.parametrize("delete", [True, False])
def test_a_completion_under_an_old_token_is_reported_lost_and_writes_nothing(delete, rows):
    mine, lost, _ = rows
    before = everything(lost[ID])

    assert settle_completed(connection, kept([mine, _under_old_token(lost)]), delete) == [lost[ID]]
    assert everything(lost[ID]) == before
    assert statuses().get(mine[ID]) == (None if delete else "finished")


@pytest.mark.parametrize("status", ["new", "error"])
def test_another_outcome_or_release_under_an_old_token_writes_nothing(status, row):
    before = everything(row[ID])
    late = outcome(row, status, reason="error", error_type="KeyError")._replace(token=row[TOKEN] - 1)

    assert apply_changes(connection, [late]) == [row[ID]]
    assert release(connection, [stale(row)]) == [row[ID]]
    assert count_crashes(connection, [crash_of(row)._replace(token=row[TOKEN] - 1)]) == [row[ID]]
    assert everything(row[ID]) == before


def test_a_run_that_came_to_its_end_clears_the_suspicion_of_a_task_and_a_crash_does_not(rows):
    retried, crashed, _ = rows
    Task.objects.update(takeovers=2)

    apply_changes(connection, [outcome(retried, "new"), outcome(crashed, "new", crashes=1)])

    assert (columns(retried[ID], "takeovers"), columns(crashed[ID], "takeovers")) == (0, 2)


def test_a_task_that_is_settled_or_released_or_gone_cannot_be_settled_again(rows):
    settled, released, gone = rows
    settle_completed(connection, kept([settled]), delete=False)
    release(connection, pairs([released]))
    Task.objects.filter(pk=gone[ID]).delete()

    lost = settle_completed(connection, kept(rows), delete=False)

    assert set(lost) == {settled[ID], released[ID], gone[ID]}
    assert set(apply_changes(connection, [outcome(row) for row in rows])) == set(lost)
    assert set(release(connection, pairs(rows))) == set(lost)
    assert set(count_crashes(connection, [crash_of(row) for row in rows])) == set(lost)


@pytest.mark.parametrize("delete", [True, False])
def test_after_a_lost_answer_what_the_first_try_wrote_is_not_reported_lost(delete, rows):
    written, open_, stolen = rows
    settle_completed(connection, kept([written]), delete)
    Task.objects.filter(pk=stolen[ID]).update(claim_token=stolen[TOKEN] + 1)

    assert settle_completed(connection, kept([written, open_, stolen]), delete, again=True) == [stolen[ID]]
    assert statuses().get(open_[ID]) == (None if delete else "finished")
    assert statuses()[stolen[ID]] == "in_process"


def test_after_a_lost_answer_other_outcomes_are_not_written_twice(rows):
    written, open_, stolen = rows
    outcomes = [outcome(row, postpones=1) for row in rows]
    apply_changes(connection, outcomes[:1])
    Task.objects.filter(pk=stolen[ID]).update(claim_token=stolen[TOKEN] + 1)

    assert apply_changes(connection, outcomes, again=True) == [stolen[ID]]
    assert columns(written[ID], "postpones", "attempts") == (1, 1)
    assert columns(open_[ID], "postpones", "attempts") == (1, 1)
    assert columns(stolen[ID], "postpones", "attempts") == (0, 0)


def test_a_postponed_task_waits_for_its_delay_and_counts(row):
    assert apply_changes(connection, [outcome(row, delay=60.0, postpones=1)]) == []

    stored = Task.objects.get()
    assert (stored.status, stored.ready, stored.claimed_by) == ("new", False, None)
    assert (stored.attempts, stored.postpones, stored.retries, stored.crashes) == (1, 1, 0, 0)
    assert timedelta(seconds=50) < stored.execute_after - django_timezone.now() < timedelta(seconds=70)
    assert (stored.finished_at, stored.error_type) == (None, None)


def test_a_retried_task_keeps_its_last_error_also_when_it_completes(row, manager):
    error = {"error_type": "KeyError", "error_message": "k", "error_traceback": "Traceback"}
    apply_changes(connection, [outcome(row, retries=1, **error)])

    assert columns(row[ID], "retries", *error) == (1, "KeyError", "k", "Traceback")

    settle_completed(connection, kept([claim_one(manager())]), delete=False)

    assert columns(row[ID], "status", "attempts", "error_type") == ("finished", 2, "KeyError")


def test_a_failed_task_has_its_reason_its_error_and_its_end_and_is_not_due(row):
    due_at = columns(row[ID], "execute_after")
    failure = outcome(
        row, "error", delay=60.0, reason="retries_exhausted", error_type="OSError", error_message="m"
    )

    assert apply_changes(connection, [failure]) == []

    stored = Task.objects.get()
    assert (stored.status, stored.ready, stored.attempts) == ("error", False, 1)
    assert (stored.error_reason, stored.error_type, stored.error_message) == (
        "retries_exhausted",
        "OSError",
        "m",
    )
    assert stored.finished_at is not None
    assert stored.execute_after == due_at
    assert stored.claimed_by is not None


def test_a_crash_is_counted_and_the_claim_goes_on_under_its_new_token(row):
    assert count_crashes(connection, [crash_of(row)]) == []

    stored = Task.objects.get()
    assert (stored.status, stored.crashes, stored.attempts) == ("in_process", 1, 1)
    assert (stored.claim_token, stored.finished_at) == (row[TOKEN] + 1000, None)
    assert settle_completed(connection, kept([row]), delete=False) == [row[ID]]
    assert settle_completed(connection, [(row[ID], row[TOKEN] + 1000, 0, "", None)], delete=False) == []


def test_after_a_lost_answer_a_crash_is_not_counted_twice(rows):
    counted, open_, gone = rows
    count_crashes(connection, [crash_of(counted)])
    Task.objects.filter(pk=gone[ID]).delete()

    assert count_crashes(connection, [crash_of(row) for row in rows]) == [gone[ID]]
    assert [columns(row[ID], "crashes", "attempts") for row in (counted, open_)] == [(1, 1), (1, 1)]


@pytest.mark.django_db(transaction=True)
def test_a_lock_timeout_ends_the_wait_for_a_row_and_for_a_duplicate_and_leaves_no_setting(second, manager):
    one, key = manager(), uuid4()
    insert(key=key)
    waits_for_duplicate = claim_one(one)
    insert()
    locked = claim_one(one)
    pairs_ = pairs([waits_for_duplicate, locked])

    with transaction.atomic():
        insert(key=key)
        Task.objects.select_for_update().get(pk=locked[ID])
        for write in (
            lambda: settle_completed(second, kept([locked]), delete=False, lock_timeout_ms=20),
            lambda: apply_changes(second, [outcome(waits_for_duplicate)], lock_timeout_ms=20),
            lambda: release(second, pairs([waits_for_duplicate]), lock_timeout_ms=20),
            lambda: count_crashes(second, [crash_of(locked)], lock_timeout_ms=20),
        ):
            with pytest.raises(OperationalError) as caught:
                write()
            assert kind_of(caught.value) is ErrorKind.LOCKED
        assert locked_by_others(second, pairs_, lock_timeout_ms=20) == {locked[ID]}
        assert release(second, pairs([waits_for_duplicate]), keep_keys=False, lock_timeout_ms=20) == []

    assert fetch_all(second, "SHOW lock_timeout") == [("0",)]
    assert locked_by_others(second, pairs_) == set()


def test_a_run_that_is_to_lose_no_attempt_loses_none(row):
    apply_changes(connection, [outcome(row, attempts=0)])

    assert columns(row[ID], "attempts") == 0


@pytest.mark.parametrize("stored", [{}, {"traceparent": "00-1-1-01"}])
def test_carried_context_is_merged_and_kept_where_there_is_nothing_new(stored, manager):
    insert(context=json.dumps(stored) if stored else None)
    row = claim_one(manager())

    apply_changes(connection, [outcome(row, context='{"previous": "00-2-2-01"}')])

    assert columns(row[ID], "context") == {**stored, "previous": "00-2-2-01"}


def test_many_outcomes_are_one_statement(rows, django_assert_num_queries):
    outcomes = [outcome(row, status) for row, status in zip(rows, ("new", "error", "new"), strict=True)]

    with django_assert_num_queries(1):
        apply_changes(connection, outcomes, lock_timeout_ms=200)

    assert [statuses()[row[ID]] for row in rows] == ["new", "error", "new"]


def test_a_released_task_waits_again_as_if_nothing_had_been(row, manager):
    assert release(connection, pairs([row])) == []

    stored = Task.objects.get()
    assert (stored.status, stored.ready, stored.claimed_by, stored.attempts) == ("new", True, None, 0)
    assert claim_one(manager())[ID] == row[ID]


@pytest.mark.parametrize("give_back", ["postpone", "release"])
def test_a_task_that_meets_a_twin_stays_in_the_table_and_gives_up_its_key(give_back, manager):
    key = uuid4()
    first = insert(key=key).pk
    row = claim_one(manager())
    twin = insert(key=key).pk

    def write(keep_keys: bool) -> Any:
        if give_back == "release":
            return release(connection, pairs([row]), keep_keys)
        return apply_changes(connection, [outcome(row, postpones=1)], keep_keys)

    with pytest.raises(IntegrityError), transaction.atomic():
        write(keep_keys=True)
    write(keep_keys=False)

    assert statuses() == {first: "new", twin: "new"}
    assert columns(first, "unique_key") is None
    assert columns(twin, "unique_key") == key


def test_a_task_that_meets_no_twin_keeps_its_key(manager):
    key = uuid4()
    task = insert(key=key)
    one = manager()
    release(connection, pairs([claim_one(one)]))
    apply_changes(connection, [outcome(claim_one(one), postpones=1)])

    assert columns(task.pk, "unique_key") == key
    assert insert(key=key).pk == task.pk
