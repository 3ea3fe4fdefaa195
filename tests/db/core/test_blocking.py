"""Who waited in vain for a lock says who holds it."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from uuid import uuid4

import pytest
from django.db import OperationalError, ProgrammingError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.blocking import blocking_sessions, with_blockers
from django_partisan.sql.claiming import claim, look_ahead
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.errors import ErrorKind, kind_of
from tests.support.database import open_transaction
from tests.support.rows import insert, insert_many

pytestmark = pytest.mark.django_db(transaction=True)

CALLS: dict[str, Callable[[BaseDatabaseWrapper], object]] = {
    "claim": partial(claim, queue="default", manager=uuid4(), token=1, limit=1),
    "look": partial(look_ahead, queue="default", limit=1),
}


@pytest.fixture
def impatient() -> Iterator[BaseDatabaseWrapper]:
    made = open_connection("impatient")
    execute(made, "SET statement_timeout = 1000")
    yield made
    made.close()


@contextmanager
def session_in(database: str | None) -> Iterator[BaseDatabaseWrapper]:
    """Return a session in another database of the server; ``None`` is the one that every server has."""
    made = open_connection("elsewhere")
    made.settings_dict["NAME"] = database
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def copied_database() -> Iterator[str]:
    """The name of a copy of the database: its tables have the OIDs of those that were copied."""
    name = f"{connection.settings_dict['NAME']}_copied"
    connection.close()  # nobody may use what is copied
    with session_in(None) as server:
        execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{connection.settings_dict["NAME"]}"')
        yield name
        execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def without_seconds(found: str) -> str:
    """Return a text with the age of each transaction left out."""
    return re.sub(r"open for \d+ s", "open", found)


def pid_of(session: BaseDatabaseWrapper) -> int:
    return int(fetch_all(session, "SELECT pg_backend_pid()")[0][0])


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_waited_for_a_locked_table_names_the_session_and_what_it_is(
    impatient: BaseDatabaseWrapper, call: str
) -> None:
    with open_transaction("LOCK TABLE django_partisan_task") as holder:
        pid = pid_of(holder)
        with pytest.raises(OperationalError, match="statement timeout") as raised:
            CALLS[call](impatient)
        named = with_blockers(impatient, raised.value)

    found = f"(the table is locked by session {pid} (django_partisan other, idle in transaction, open for "
    assert found in str(named)
    assert kind_of(named) is ErrorKind.CANCELLED


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_for_another_reason_raises_what_it_did(
    impatient: BaseDatabaseWrapper, call: str
) -> None:
    execute(impatient, "SET ROLE pg_read_all_settings")

    with pytest.raises(ProgrammingError, match="permission denied") as raised:
        CALLS[call](impatient)

    assert "locked by" not in str(raised.value)


def test_an_error_without_a_lock_stays_as_it_is(impatient: BaseDatabaseWrapper) -> None:
    with pytest.raises(OperationalError) as raised:
        execute(impatient, "SELECT pg_sleep(5)")

    assert with_blockers(impatient, raised.value) is raised.value


def test_the_session_that_locks_a_row_is_found(impatient: BaseDatabaseWrapper) -> None:
    locked, free = insert().pk, insert().pk

    with open_transaction(f"SELECT FROM django_partisan_task WHERE id = {locked} FOR UPDATE") as holder:
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
        lock = "SELECT FROM django_partisan_task WHERE id = {} FOR UPDATE"
        holders = [stack.enter_context(open_transaction(lock.format(row))) for row in reversed(locked)]
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


def test_who_cannot_look_names_nobody(impatient: BaseDatabaseWrapper) -> None:
    execute(impatient, "SET ROLE pg_read_all_settings")

    assert blocking_sessions(impatient, [1]) == ""
