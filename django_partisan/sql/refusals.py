"""Turn an error of the database at the start into one line with the problem and the remedy.

libpq gives no SQLSTATE for a refused connection, so PostgreSQL's English message decides then; for a message
in another language the remedy lists the likely causes.
"""

import re
from typing import Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.exceptions import CannotStart
from django_partisan.sql.connection import address_of
from django_partisan.sql.errors import sqlstate


class Refusal(NamedTuple):
    """What PostgreSQL or libpq says, what that means for the database, and the remedy."""

    words: str
    meaning: str
    cure: str


OUT_OF_REACH: Final = Refusal(
    "", "is out of reach", "Start it, correct DATABASES, or wait for it with --wait-for-database SECONDS."
)
WITHOUT_RIGHTS: Final = Refusal(
    r"permission denied",
    "denies the role a right",
    "Grant it to the role (the error names what is missing), or use the role that ran the migrations.",
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
        "has no connection left",
        "End other clients or raise max_connections, or wait with --wait-for-database SECONDS.",
    ),
    Refusal(
        r"starting up|shutting down|recovery|not (yet )?accepting connections",
        "accepts no connections yet",
        "Wait for it with --wait-for-database SECONDS.",
    ),
    Refusal(
        r"invalid (dsn|integer|port|connection option|.* value)|unrecognized config|service \S+ not found",
        "cannot be reached with these settings",
        "Correct DATABASES, or the environment variables PG*.",
    ),
    Refusal(
        r"canceling statement",
        "cancelled a check at the start",
        "Try again, or raise the role's statement_timeout and lock_timeout.",
    ),
    Refusal(
        r"terminating connection|closed the connection|connection (has been|was) (closed|lost)",
        "ended the connection during the start",
        "Start again, or wait for it with --wait-for-database SECONDS.",
    ),
    WITHOUT_RIGHTS,
)


def is_passing(error: Exception) -> bool:
    """Return whether the same try may succeed later."""
    return isinstance(error, OperationalError | InterfaceError)


def refusal(connection: BaseDatabaseWrapper, error: Error | ImproperlyConfigured) -> CannotStart:
    """Return the ``CannotStart`` for an error of a connection or of a check."""
    reason = " ".join(str(error).split()).rstrip(".")  # libpq writes several lines, the cause first
    found = next((each for each in REFUSALS if re.search(each.words, reason)), OUT_OF_REACH)
    if sqlstate(error) == "42501":  # whatever the language
        found = WITHOUT_RIGHTS
    elif found is OUT_OF_REACH and not is_passing(error):
        found = Refusal("", "cannot be used", "Correct DATABASES.")
    end = "" if reason.endswith("?") else "."
    return CannotStart(f"The database {address_of(connection)} {found.meaning}: {reason}{end}", found.cure)
