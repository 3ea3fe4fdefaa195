"""Turn a database error at the start or in a command into one line with the problem and the remedy.

libpq gives no SQLSTATE for a refused connection, so PostgreSQL's English message is matched instead. For a
message in another language, the remedy names the likely causes.
"""

import re
from typing import Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.exceptions import CannotStart
from django_partisan.sql.connection import address_of
from django_partisan.sql.errors import READ_ONLY, is_schema_error, sqlstate

APP: Final = "django_partisan"


class Refusal(NamedTuple):
    """A pattern for messages of PostgreSQL or libpq, their meaning, and the remedy.

    ``start_partisan``, which can wait, uses ``start_meaning`` and ``start_remedy`` instead, if they are set.
    """

    words: str
    meaning: str
    remedy: str
    start_meaning: str = ""
    start_remedy: str = ""


OUT_OF_REACH: Final = Refusal(
    "",
    "cannot be reached",
    "Start it, or correct DATABASES.",
    start_remedy="Start it, correct DATABASES, or wait for it with --wait-for-database SECONDS.",
)
WITHOUT_RIGHTS: Final = Refusal(
    r"permission denied",
    "denies the role a privilege",
    "Grant it to the role (the error names what is missing), or use the role that ran the migrations.",
)
WITHOUT_WRITES: Final = Refusal(
    r"read-only transaction", "does not accept writes", "Name the primary server in DATABASES."
)
REFUSALS: Final = (
    Refusal(
        r"database \S+ does not exist", "does not exist", "Create it, or correct NAME and HOST in DATABASES."
    ),
    Refusal(
        r"authentication failed|no password supplied|pg_hba\.conf|role \S+ does not exist|not permitted",
        "refuses the login",
        "Correct USER and PASSWORD in DATABASES, or allow the role in pg_hba.conf.",
    ),
    Refusal(
        r"too many (clients|connections)|connection slots are reserved",
        "has no free connection",
        "Close connections, or raise max_connections.",
        start_remedy="Close connections, raise max_connections, or wait with --wait-for-database SECONDS.",
    ),
    Refusal(
        r"starting up|shutting down|recovery|not (yet )?accepting connections",
        "does not accept connections yet",
        "Try again when the server accepts connections.",
        start_remedy="Wait for it with --wait-for-database SECONDS.",
    ),
    Refusal(
        r"invalid (dsn|integer|port|connection option|.* value)|unrecognized config|service \S+ not found",
        "cannot be reached with these settings",
        "Correct DATABASES, or the environment variables PG*.",
    ),
    Refusal(
        r"canceling statement",
        "cancelled a statement",
        "Try again, or raise the role's statement_timeout and lock_timeout.",
        start_meaning="cancelled a check at the start",
    ),
    Refusal(
        r"terminating connection|closed the connection|connection (has been|was) (closed|lost)",
        "ended the connection",
        "Try again.",
        start_meaning="ended the connection during the start",
        start_remedy="Start again, or wait for it with --wait-for-database SECONDS.",
    ),
    WITHOUT_RIGHTS,
    WITHOUT_WRITES,
)


def is_temporary(error: Exception) -> bool:
    """Return whether the same attempt may succeed later."""
    return isinstance(error, OperationalError | InterfaceError)


def refusal(connection: BaseDatabaseWrapper, error: Error | ImproperlyConfigured) -> CannotStart:
    """Return the ``CannotStart`` for an error of a connection or of a check."""
    found = _found(connection, error)
    if found is None:
        found = Refusal("", "cannot be used", "Correct DATABASES.")
    problem = _problem(connection, found.start_meaning or found.meaning, error)
    return CannotStart(problem, found.start_remedy or found.remedy)


def refusal_of_command(connection: BaseDatabaseWrapper, error: Error) -> str:
    """Return a command's message about a database error, in one line."""
    found = _found(connection, error)
    if found is None:
        found = Refusal("", "refused a statement", "Run the command with --traceback to see which.")
    return f"{_problem(connection, found.meaning, error)} {found.remedy}"


def command_to_migrate(connection: BaseDatabaseWrapper) -> str:
    """Return the command that creates the tables in the database of a connection."""
    option = "" if connection.alias == DEFAULT_DB_ALIAS else f" --database {connection.alias}"
    return f"manage.py migrate {APP}{option}"


def _found(connection: BaseDatabaseWrapper, error: Error | ImproperlyConfigured) -> Refusal | None:
    """Return the refusal for an error; ``None`` if it concerns no connection, table or privilege."""
    code = sqlstate(error)  # in any language of the messages
    if code == "42501":
        return WITHOUT_RIGHTS
    if code in READ_ONLY:
        return WITHOUT_WRITES
    if is_schema_error(error):
        remedy = f"Run: {command_to_migrate(connection)}"
        return Refusal("", "lacks a table, column or function of this version", remedy)
    reason = _reason(error)
    found = next((each for each in REFUSALS if re.search(each.words, reason)), None)
    return OUT_OF_REACH if found is None and is_temporary(error) else found


def _problem(connection: BaseDatabaseWrapper, meaning: str, error: Exception) -> str:
    reason = _reason(error)
    end = "" if reason.endswith("?") else "."
    return f"The database {address_of(connection)} {meaning}: {reason}{end}"


def _reason(error: Exception) -> str:
    """Return the message in one line; libpq writes several, the cause first."""
    return " ".join(str(error).split()).rstrip(".")
