"""What PostgreSQL refuses to write spoils nothing else, and an outage loses nothing."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, InternalError, OperationalError, connection

from django_partisan.engine import settling
from django_partisan.engine.settling import write_outcomes, write_releases
from django_partisan.models import Task
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import execute
from django_partisan.sql.settling import STATUS_ERROR, STATUS_NEW, RowChange
from tests.support.rows import claimed
from tests.support.rows import insert_many as enqueue
from tests.support.rows import statuses_of as statuses

pytestmark = pytest.mark.django_db(transaction=True)


def pairs(rows: list[TaskRow]) -> list[tuple[int, int]]:
    return [(row[ID], row[TOKEN]) for row in rows]


def outcomes(rows: list[TaskRow], status: str = STATUS_NEW, **more: Any) -> list[RowChange]:
    return [RowChange(row[ID], row[TOKEN], status, **more) for row in rows]


def refuse(table_condition: str) -> None:
    """Have PostgreSQL refuse rows that do not meet a condition."""
    execute(connection, f"ALTER TABLE django_partisan_task ADD CONSTRAINT refused CHECK ({table_condition})")


@pytest.fixture(autouse=True)
def constraints_as_they_were():
    yield
    execute(connection, "ALTER TABLE django_partisan_task DROP CONSTRAINT IF EXISTS refused")


def test_of_500_outcomes_one_that_is_refused_fails_alone():
    rows = claimed(500)
    mixed = outcomes(rows, postpones=1)
    mixed[123] = mixed[123]._replace(context="{")

    written = write_outcomes(connection, [], mixed, delete=False)

    culprit = mixed[123].id
    assert [task_id for task_id, _ in written.unsettleable] == [culprit]
    assert written.lost == []
    assert Task.objects.filter(status="new", postpones=1).count() == 499
    failed = Task.objects.get(status="error")
    assert (failed.pk, failed.error_reason) == (culprit, "unsettleable")
    assert failed.error_type == "django_partisan.exceptions.Unsettleable"
    assert "refused the outcome: invalid input syntax for type json" in str(failed.error_message)


def test_a_task_that_waits_again_and_meets_a_twin_gives_up_its_key_and_both_stay():
    key = uuid4()
    rows = claimed(1, key=key)
    [twin] = enqueue(1, key=key)
    others = claimed(3)

    written = write_outcomes(connection, [], outcomes([*others, *rows]), delete=False)

    assert written == ([], [])
    assert statuses(twin, *(row[ID] for row in rows)) == ["new", "new"]
    assert list(Task.objects.filter(unique_key=key).values_list("pk", flat=True)) == [twin]


def test_a_task_that_meets_a_twin_and_is_refused_without_its_key_too_fails():
    key = uuid4()
    rows = claimed(1, key=key)
    enqueue(1, key=key)
    refuse("postpones < 1")

    written = write_outcomes(connection, [], outcomes(rows, postpones=1), delete=False)

    assert [task_id for task_id, _ in written.unsettleable] == [rows[0][ID]]
    assert statuses(rows[0][ID]) == ["error"]


def test_a_completion_that_is_refused_fails_its_task_and_no_other():
    rows = claimed(4)
    refuse(f"status <> 'finished' OR id <> {rows[2][ID]}")

    written = write_outcomes(connection, pairs(rows), [], delete=False)

    assert [task_id for task_id, _ in written.unsettleable] == [rows[2][ID]]
    assert statuses(*(row[ID] for row in rows)) == ["finished", "finished", "error", "finished"]


def test_a_task_that_cannot_even_be_failed_is_told_and_holds_up_no_other():
    rows = claimed(2)
    refuse(f"status = 'in_process' OR id <> {rows[0][ID]}")

    written = write_outcomes(connection, pairs(rows), [], delete=False)

    assert [task_id for task_id, _ in written.unsettleable] == [rows[0][ID]]
    assert statuses(*(row[ID] for row in rows)) == ["in_process", "finished"]


def test_claims_that_were_lost_are_returned_from_both_statements():
    rows = claimed(2)
    stale = [(row[ID], row[TOKEN] + 1000) for row in rows]

    written = write_outcomes(connection, stale[:1], [RowChange(*stale[1], STATUS_ERROR)], delete=True)

    assert written == (sorted(task_id for task_id, _ in stale)[::-1], [])
    assert statuses(*(row[ID] for row in rows)) == ["in_process", "in_process"]


def test_after_a_lost_answer_what_was_written_by_the_first_try_is_not_a_lost_claim():
    rows = claimed(2)
    write_outcomes(connection, pairs(rows[:1]), outcomes(rows[1:]), delete=True)

    assert write_outcomes(connection, pairs(rows[:1]), outcomes(rows[1:]), delete=True, again=True) == (
        [],
        [],
    )


def test_tasks_given_back_wait_again_and_one_with_a_twin_gives_up_its_key():
    key = uuid4()
    rows = [*claimed(2), *claimed(1, key=key)]
    enqueue(1, key=key)

    assert write_releases(connection, pairs(rows)) == [row[ID] for row in rows]
    assert statuses(*(row[ID] for row in rows)) == ["new", "new", "new"]


def test_nothing_to_write_asks_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert write_outcomes(connection, [], [], delete=False) == ([], [])
        assert write_releases(connection, []) == []


def test_a_database_that_became_a_standby_fails_no_task():
    rows = claimed(3)
    execute(connection, "SET default_transaction_read_only = on")
    try:
        with pytest.raises(InternalError, match="read-only"):
            write_outcomes(connection, pairs(rows), [], delete=False)
        with pytest.raises(InternalError, match="read-only"):
            write_outcomes(connection, [], outcomes(rows[:1], context="{}"), delete=False)
    finally:
        execute(connection, "SET default_transaction_read_only = off")

    assert statuses(*(row[ID] for row in rows)) == ["in_process"] * 3


def test_a_connection_lost_in_the_middle_is_raised_whatever_was_being_written(monkeypatch):
    rows = claimed(2)
    tried: list[str] = []

    def settle(
        connection: Any, outcomes: list[RowChange], keep_keys: bool = True, again: bool = False
    ) -> Any:
        tried.append(outcomes[0].status)
        raise DatabaseError("refused") if outcomes[0].status == STATUS_NEW else OperationalError("gone")

    monkeypatch.setattr(settling, "apply_changes", settle)

    with pytest.raises(OperationalError, match="gone"):
        write_outcomes(connection, [], outcomes(rows), delete=False)
    assert tried == ["new", "new", "error"]
