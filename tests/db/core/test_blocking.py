"""The error after a failed wait for a lock says who holds the lock."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest
from django.db import Error, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.blocking import blocking_sessions, with_blockers
from django_partisan.sql.claiming import claim
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.errors import ErrorKind, kind_of
from tests.support.database import impatient_session, open_transaction
from tests.support.rows import insert, insert_many, lock_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient() -> Iterator[BaseDatabaseWrapper]:
    with impatient_session(1000) as made:
        yield made


@contextmanager
def session_in(database: str | None) -> Iterator[BaseDatabaseWrapper]:
    """Yield a session in another database of the server; ``None`` selects a database that always exists."""
    made = open_connection("elsewhere")
    made.settings_dict["NAME"] = database
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def copied_database() -> Iterator[str]:
    """The name of a copy of the database, whose tables have the same OIDs."""
    name = f"{connection.settings_dict['NAME']}_copied"
    connection.close()  # the template must not be in use
    with session_in(None) as server:
        execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{connection.settings_dict["NAME"]}"')
        yield name
        execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def without_seconds(found: str) -> str:
    """Return a text without the age of each transaction."""
    return re.sub(r"open for \d+ s", "open", found)


def pid_of(session: BaseDatabaseWrapper) -> int:
    return int(fetch_all(session, "SELECT pg_backend_pid()")[0][0])


def failure_of(session: BaseDatabaseWrapper) -> Error:
    """Make a claim that fails; return its error."""
    with pytest.raises(Error) as raised:
        claim(session, "default", uuid4(), token=1, limit=1)
    return raised.value


def test_an_error_after_a_wait_for_a_locked_table_names_the_session_and_what_it_is(
    impatient: BaseDatabaseWrapper,
) -> None:
    with open_transaction("LOCK TABLE django_partisan_task") as holder:
        pid = pid_of(holder)
        error = failure_of(impatient)
        named = with_blockers(impatient, error)

    found = f"(the table is locked by session {pid} (django_partisan other, idle in transaction, open for "
    assert "statement timeout" in str(error)
    assert found in str(named)
    assert kind_of(named) is ErrorKind.CANCELLED


def test_an_error_for_another_reason_stays_as_it_is_while_the_table_is_locked(
    impatient: BaseDatabaseWrapper,
) -> None:
    execute(impatient, "SET ROLE pg_read_all_settings")
    error = failure_of(impatient)

    with open_transaction("LOCK TABLE django_partisan_task"):
        assert "permission denied" in str(error)
        assert with_blockers(impatient, error) is error


def test_an_error_without_a_lock_stays_as_it_is(impatient: BaseDatabaseWrapper) -> None:
    with pytest.raises(OperationalError) as raised:
        execute(impatient, "SELECT pg_sleep(5)")

    assert with_blockers(impatient, raised.value) is raised.value


def test_the_session_that_locks_a_row_is_found(impatient: BaseDatabaseWrapper) -> None:
    locked, free = insert().pk, insert().pk

    with open_transaction(lock_of(locked)) as holder:
        found = blocking_sessions(impatient, [locked])
        of_free = blocking_sessions(impatient, [free])

        assert found.startswith(
            f"session {pid_of(holder)} (django_partisan other, idle in transaction, open for "
        )
    assert of_free == ""


def test_a_session_that_locks_many_rows_is_named_once(impatient: BaseDatabaseWrapper) -> None:
    locked = insert_many(50)

    with open_transaction("SELECT FROM django_partisan_task FOR UPDATE") as holder:
        found = blocking_sessions(impatient, locked)

        assert without_seconds(found) == (
            f"session {pid_of(holder)} (django_partisan other, idle in transaction, open)"
        )


def test_a_session_that_locks_the_table_in_several_modes_is_named_once(
    impatient: BaseDatabaseWrapper,
) -> None:
    modes = ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
    locks = [f"LOCK TABLE django_partisan_task IN {mode} MODE" for mode in modes]

    with open_transaction(*locks) as holder:
        found = blocking_sessions(impatient)

        assert without_seconds(found) == (
            f"session {pid_of(holder)} (django_partisan other, idle in transaction, open)"
        )


def test_of_many_sessions_those_with_the_oldest_transactions_are_named(
    impatient: BaseDatabaseWrapper,
) -> None:
    locked = insert_many(5)

    with ExitStack() as stack:
        holders = [stack.enter_context(open_transaction(lock_of(row))) for row in reversed(locked)]
        found = blocking_sessions(impatient, locked)

        named = [
            f"session {pid_of(holder)} (django_partisan other, idle in transaction, open)"
            for holder in holders[:3]
        ]
    assert without_seconds(found) == ", ".join(named) + ", and 2 more"


def test_a_lock_of_a_table_in_a_copy_of_the_database_is_none_of_ours(
    copied_database: str, impatient: BaseDatabaseWrapper
) -> None:
    with session_in(copied_database) as other:
        other.set_autocommit(False)
        execute(other, "LOCK TABLE django_partisan_task")
        found = blocking_sessions(impatient)
        other.rollback()

    assert found == ""


def test_a_session_that_the_role_may_not_read_is_named_by_its_number(
    impatient: BaseDatabaseWrapper,
) -> None:
    execute(impatient, "SET ROLE pg_read_all_settings")

    with open_transaction("SET application_name = ''", "LOCK TABLE django_partisan_task") as holder:
        found = blocking_sessions(impatient)

        assert found == f"session {pid_of(holder)}"


def test_who_cannot_look_names_nobody(impatient: BaseDatabaseWrapper) -> None:
    execute(impatient, "SET ROLE pg_read_all_settings")

    assert blocking_sessions(impatient, [1]) == ""
