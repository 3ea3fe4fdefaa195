"""What PostgreSQL refuses to write spoils nothing else, and an outage loses nothing."""

import time
from typing import Any
from uuid import uuid4

import pytest
from django.db import InternalError, OperationalError, connection

from django_partisan.engine.manager.outage import Outage, SharedOutage
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.settling import write_outcomes, write_releases
from django_partisan.models import Task
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import execute
from django_partisan.sql.settling import STATUS_ERROR, STATUS_IN_PROCESS, STATUS_NEW, RowChange
from tests.support.engine import FakeDatabaseThread, config_of
from tests.support.rows import claimed, columns, insert, pairs, statuses_of

pytestmark = pytest.mark.django_db(transaction=True)


def changes_of(rows: list[TaskRow], status: str = STATUS_NEW, **more: Any) -> list[RowChange]:
    return [RowChange(row[ID], row[TOKEN], status, **more) for row in rows]


def statuses(rows: list[TaskRow]) -> list[str | None]:
    return statuses_of(*(row[ID] for row in rows))


def refuse(table_condition: str) -> None:
    """Have PostgreSQL refuse rows that do not meet a condition."""
    execute(connection, f"ALTER TABLE django_partisan_task ADD CONSTRAINT refused CHECK ({table_condition})")


def go_away(row_condition: str) -> None:
    """Have PostgreSQL refuse a row that meets a condition as a server does that shuts down."""
    execute(
        connection,
        "CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'shutting down' USING ERRCODE = '57P01'; END $$;"
        " CREATE TRIGGER going BEFORE UPDATE ON django_partisan_task FOR EACH ROW"
        f" WHEN ({row_condition}) EXECUTE FUNCTION go_away()",
    )


@pytest.fixture(autouse=True)
def table_as_it_was():
    yield
    execute(connection, "ALTER TABLE django_partisan_task DROP CONSTRAINT IF EXISTS refused")
    execute(connection, "DROP FUNCTION IF EXISTS go_away CASCADE")


def test_of_500_outcomes_one_that_is_refused_fails_alone():
    rows = claimed(500)
    mixed = changes_of(rows, postpones=1)
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


def test_a_task_that_waits_again_and_has_a_duplicate_gives_up_its_key_and_both_stay():
    key = uuid4()
    rows = claimed(1, key=key)
    duplicate = insert(key=key)
    others = claimed(3)

    written = write_outcomes(connection, [], changes_of([*others, *rows]), delete=False)

    assert written == ([], [])
    assert statuses_of(duplicate.pk, rows[0][ID]) == ["new", "new"]
    assert Task.objects.get(unique_key=key) == duplicate


def test_a_task_that_has_a_duplicate_and_is_refused_without_its_key_too_fails():
    key = uuid4()
    rows = claimed(1, key=key)
    insert(key=key)
    refuse("postpones < 1")

    written = write_outcomes(connection, [], changes_of(rows, postpones=1), delete=False)

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

    written = write_outcomes(connection, pairs(rows), [], delete=False)

    assert [task_id for task_id, _ in written.unsettleable] == [rows[2][ID]]
    assert statuses(rows) == ["finished", "finished", status, "finished"]


def test_claims_that_were_lost_are_returned_from_both_statements():
    rows = claimed(2)
    stale = [(row[ID], row[TOKEN] + 1000) for row in rows]

    written = write_outcomes(connection, stale[:1], [RowChange(*stale[1], STATUS_ERROR)], delete=True)

    assert written == ([rows[1][ID], rows[0][ID]], [])
    assert statuses(rows) == ["in_process", "in_process"]


def test_after_a_lost_answer_what_was_written_by_the_first_try_is_not_a_lost_claim():
    rows = claimed(2)
    outcomes = (connection, pairs(rows[:1]), changes_of(rows[1:]), True)
    write_outcomes(*outcomes)

    assert write_outcomes(*outcomes, again=True) == ([], [])


def test_released_tasks_wait_again_and_one_with_a_duplicate_gives_up_its_key():
    key = uuid4()
    rows = [*claimed(2), *claimed(1, key=key)]
    insert(key=key)

    assert write_releases(connection, pairs(rows)) == [row[ID] for row in rows]

    assert statuses(rows) == ["new", "new", "new"]


@pytest.mark.parametrize(("delete", "status"), [(True, None), (False, "finished")])
def test_a_settler_writes_all_that_gathered_and_releases_last(delete: bool, status: str | None):
    done, crashed = claimed(2)
    thread = FakeDatabaseThread()
    settler = Settler(
        config_of(delete_tasks_on_complete=delete),
        thread,
        Outage(SharedOutage("default")),
        lambda seconds: None,
    )
    settler.complete([done])
    settler.settle(crashed, *changes_of([crashed], STATUS_IN_PROCESS, crashes=1))
    settler.release([crashed])

    settler.turn(time.monotonic())
    thread.answer(thread.call(connection))

    assert statuses([done]) == [status]
    assert columns(crashed[ID], "status", "crashes") == ("new", 1)
    assert (settler.released, settler.is_idle) == (1, True)


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
            write_outcomes(connection, [], changes_of(rows[:1], context="{}"), delete=False)
    finally:
        execute(connection, "SET default_transaction_read_only = off")

    assert statuses(rows) == ["in_process"] * 3


def test_a_database_that_goes_away_is_raised_also_while_a_refused_outcome_is_failed():
    rows = claimed(2)
    refuse("status <> 'new'")
    go_away("NEW.status = 'error'")

    with pytest.raises(OperationalError, match="shutting down"):
        write_outcomes(connection, [], changes_of(rows), delete=False)

    assert statuses(rows) == ["in_process"] * 2
