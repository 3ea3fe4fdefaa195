"""Convert the option ``expires`` of ``delay()`` into the expiry of a task.

A number of seconds counts from when the task is due. The statement that inserts the task adds it, because a
task may be due at once, which is a moment by the database's clock.
"""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from django_partisan import moments
from django_partisan.config.validation import EXPIRY

Expires: TypeAlias = float | timedelta | datetime
"""A number of seconds above 0 or a ``timedelta``, counted from when the task is due, or a moment."""


class _AsDefined:
    def __repr__(self) -> str:
        return "EXPIRES_SECONDS"


AS_DEFINED: Final[Any] = _AsDefined()
"""The value of ``expires`` if the call does not set it: the task expires as its definition says."""


class Expiry(NamedTuple):
    """When a task expires: seconds after it is due, or a moment."""

    seconds: float | None = None
    at: datetime | None = None


def expiry_of(processor: str, expires: Any, default: float | None) -> Expiry | None:
    """Return the expiry for a value of ``expires``, ``None`` for never; ``default`` is the definition's.

    Raises ``TypeError`` or ``ValueError`` for a value that is not accepted.
    """
    if expires is AS_DEFINED:
        expires = default
    if expires is None:
        return None
    if isinstance(expires, datetime):
        return Expiry(at=moments.storable(moments.aware(processor, expires, "expires")))
    number = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if not EXPIRY.accepts(number):
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        text = f"{processor}: expires is {expires!r}; expected {EXPIRY.expected}, a timedelta, or a datetime."
        raise ValueError(text) if is_number else TypeError(text)
    return Expiry(seconds=float(number))


def expires_at(due_at: datetime, expires_seconds: float | None) -> datetime | None:
    """Return when a task that is due at ``due_at``, an aware moment, expires; ``None`` for never."""
    if expires_seconds is None:
        return None
    return moments.storable(moments.storable(due_at) + timedelta(seconds=expires_seconds))
