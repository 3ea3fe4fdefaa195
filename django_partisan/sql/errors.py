"""Classify database errors by SQLSTATE, in the same way for both drivers."""

from enum import Enum
from typing import Final

from django.db import Error, InterfaceError, OperationalError


class ErrorKind(Enum):
    """The kind of a database error: it determines how the failed call is handled."""

    OUTAGE = "the database is unavailable or refuses every call: repeat the call later"
    READ_ONLY = "the server became a standby: connect again, and repeat the call later"
    LOCKED = "other transactions hold a lock that the call needs: try a smaller part of it, or try later"
    CANCELLED = "the call took longer than statement_timeout: try a smaller part of it"
    REFUSED = "PostgreSQL refuses the values: the same call would fail again"


READ_ONLY: Final = frozenset({"25006"})
LOCKED: Final = frozenset({"55P03", "40P01", "40001"})
"""lock_not_available, deadlock_detected, serialization_failure: the statement had no effect."""
CANCELLED: Final = frozenset({"57014"})
_SCHEMA: Final = frozenset({"3F000", "42501", "42703", "42883", "42P01"})
"""A schema, table, column, function or privilege is missing, whatever the values."""
LIMIT_EXCEEDED: Final = "54"
"""The class of errors such as an index entry that is too long; drivers raise ``OperationalError`` for it."""


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of Django or the driver; ``None`` if the server sent none."""
    cause = error.__cause__ if isinstance(error, Error) else error
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return None if code is None else str(code)


def is_schema_error(error: BaseException) -> bool:
    """Return whether a statement failed because a table, privilege or the like is missing in the database."""
    return sqlstate(error) in _SCHEMA


def kind_of(error: Error) -> ErrorKind:
    """Return the kind of an error; an unknown SQLSTATE is judged by the class of Django's error."""
    code = sqlstate(error)
    if code in LOCKED:
        return ErrorKind.LOCKED
    if code in CANCELLED:
        return ErrorKind.CANCELLED
    if code in READ_ONLY:
        return ErrorKind.READ_ONLY
    if code is not None and code.startswith(LIMIT_EXCEEDED):
        return ErrorKind.REFUSED
    if is_schema_error(error) or isinstance(error, (InterfaceError, OperationalError)):
        return ErrorKind.OUTAGE
    return ErrorKind.REFUSED


STATEMENT_TIMEOUT: Final = (
    "A statement for one task was cancelled by statement_timeout or pg_cancel_backend(). Raise the limit of"
    " the role: ALTER ROLE ... SET statement_timeout = '30s' (PostgreSQL: {})"
)


def explained(error: Error) -> OperationalError:
    """Return an error with the remedy, for the case that even a call for one task was cancelled."""
    made = OperationalError(STATEMENT_TIMEOUT.format(str(error).strip()))
    made.__cause__ = error.__cause__
    return made
