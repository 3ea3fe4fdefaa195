"""Classify errors in a batch of ticks, and describe them for the row of a schedule and the log."""

from typing import Final, NamedTuple

from django.db import Error

from django_partisan.sql.blocking import blockers_of
from django_partisan.sql.errors import READ_ONLY, ErrorKind, kind_of, sqlstate
from django_partisan.telemetry.events.values import ErrorInfo

LOST: Final = ("08", "53", "57P", "25P03", "25P04")
"""SQLSTATEs that concern no single row: connection lost, resources exhausted, shutdown, transaction ended."""
LOCKED: Final = (
    "another transaction has locked the waiting task with the same arguments, or the row of a schedule"
    " (PostgreSQL: {})"
)
TABLE_LOCKED: Final = "the table of tasks is locked by {} (PostgreSQL: {})"
LENGTH: Final = 1000


class TickError(NamedTuple):
    """The reason why a tick cannot be enqueued."""

    text: str
    """One line that ends with ``kind``."""
    kind: str
    """The SQLSTATE or the class, in parentheses; errors of the same kind are reported only once."""
    info: ErrorInfo


def locked_duplicate() -> TickError:
    """Return the error of a tick whose waiting duplicate another transaction has locked."""
    text = f"{LOCKED.format('its row cannot be locked')} (55P03)"
    return TickError(text, "(55P03)", ErrorInfo("django.db.utils.OperationalError", text, ""))


def describe(error: BaseException) -> TickError:
    """Describe an error; PostgreSQL's details and context are left out, because they may hold arguments."""
    info = ErrorInfo.of(error)
    message, kind = info.message, info.type.rpartition(".")[2]
    if isinstance(error, Error) and (code := sqlstate(error)) is not None:
        diagnostics = getattr(error.__cause__, "diag", None)
        message, kind = getattr(diagnostics, "message_primary", None) or message.partition("\n")[0], code
        info = info._replace(stack_trace="")
        if blockers := blockers_of(error):
            message = TABLE_LOCKED.format(blockers, message)
        elif is_lock(error):
            message = LOCKED.format(message)
    line = " ".join(message.replace("\0", "").split())[:LENGTH]
    text = f"{line} ({kind})".lstrip()
    return TickError(text, f"({kind})", info._replace(message=text, exception=None))


def is_lock(error: Exception) -> bool:
    """Return whether an error was caused by another transaction's lock."""
    return isinstance(error, Error) and kind_of(error) is ErrorKind.LOCKED


def is_of_a_row(error: Exception) -> bool:
    """Return whether an error may concern a single row, rather than the connection or the server."""
    if not isinstance(error, Error):
        return True
    code = sqlstate(error)
    return code is not None and code not in READ_ONLY and not code.startswith(LOST)
