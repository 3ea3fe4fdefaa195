"""Validate and limit moments and delays, so that Python can represent them in every time zone.

PostgreSQL has moments before the year 1 and after the year 9999, which Python cannot represent. Within a day
of either limit, it depends on the time zone whether Python can.
"""

from datetime import datetime, timedelta, timezone
from typing import Any, Final

from django.conf import settings
from django.utils.timezone import is_aware, make_aware

EARLIEST: Final = datetime.min.replace(tzinfo=timezone.utc) + timedelta(days=1)
LATEST: Final = datetime.max.replace(tzinfo=timezone.utc) - timedelta(days=1)
LONGEST_DELAY_SECONDS: Final = 100 * 31_557_600
"""The longest duration that settings, options and calls accept, and the longest delay: a hundred years."""


def aware(processor: str, moment: Any, option: str = "execute_after") -> datetime:
    """Return the moment of an option as aware; if ``USE_TZ`` is ``False``, a naive moment is local time.

    Raises ``TypeError`` if it is not a ``datetime``, and ``ValueError`` if it is naive and ``USE_TZ`` is
    ``True``.
    """
    if not isinstance(moment, datetime):
        raise TypeError(f"{processor}: {option} is {moment!r}; expected a datetime.")
    if is_aware(moment):
        return moment
    if settings.USE_TZ:
        raise ValueError(
            f"{processor}: {option} is {moment!r}, which has no time zone; "
            "use django.utils.timezone.now() or make_aware()."
        )
    return make_aware(moment)


def storable(moment: datetime) -> datetime:
    """Return an aware moment in UTC, limited to ``EARLIEST`` and ``LATEST``.

    In UTC, because PostgreSQL accepts no offset of 16 hours or more, or with a fraction of a second.
    """
    return min(max(moment, EARLIEST), LATEST).astimezone(timezone.utc)
