"""Who waited in vain for a lock says who holds it."""

from collections.abc import Callable, Iterator
from functools import partial
from uuid import uuid4

import pytest
from django.db import OperationalError, ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.blocking import blocking_sessions, with_blockers
from django_partisan.sql.claiming import claim, look_ahead
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.errors import ErrorKind, kind_of
from tests.support.database import open_transaction
from tests.support.rows import insert

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

    found = f"(the table is locked by session {pid} (django_partisan other, idle in transaction, open for "
    assert found in str(raised.value)
    assert kind_of(raised.value) is ErrorKind.CANCELLED


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


def test_who_cannot_look_names_nobody(impatient: BaseDatabaseWrapper) -> None:
    execute(impatient, "SET ROLE pg_read_all_settings")

    assert blocking_sessions(impatient, [1]) == ""
