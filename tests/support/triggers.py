"""Triggers with which PostgreSQL refuses, drops or delays changes of rows."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Final

from django.db import connection

from django_partisan.sql.connection import execute

TASKS: Final = "django_partisan_task"
SCHEDULES: Final = "django_partisan_schedule"

_numbers: Final = count()


@contextmanager
def trigger(change: str, body: str, condition: str = "true", table: str = TASKS) -> Iterator[None]:
    """Execute ``body``, in PL/pgSQL, before a change of each row that meets a condition.

    ``change`` is ``INSERT``, ``UPDATE`` or ``DELETE``; the condition refers to rows as ``OLD`` and ``NEW``.
    """
    name = f"meddle_{next(_numbers)}"
    execute(
        connection,
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
        f" CREATE TRIGGER {name} BEFORE {change} ON {table}"
        f" FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {name}()",
    )
    try:
        yield
    finally:
        execute(connection, f"DROP FUNCTION {name} CASCADE")


def refusing(
    change: str, condition: str = "true", code: str = "P0001", message: str = "as asked", table: str = TASKS
) -> AbstractContextManager[None]:
    """Refuse a change of each row that meets a condition, with an SQLSTATE and a message."""
    return trigger(change, f"RAISE EXCEPTION '{message}' USING ERRCODE = '{code}';", condition, table)


def slow(seconds: float | str, condition: str = "true") -> AbstractContextManager[None]:
    """Delay the update of each task that meets a condition; the delay is a number or an SQL expression."""
    return trigger("UPDATE", f"PERFORM pg_sleep({seconds}); RETURN NEW;", condition)
