"""Parse cron expressions, and find the local times that they match.

The library ``cronsim`` parses the fields. It only gets times without a time zone; the module ``times``
handles clock changes.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cronsim import CronSim, CronSimError

# The accepted values of each field, in the order of the fields.
FIELDS: Final = {
    "minute": "numbers from 0 to 59, ranges, lists and steps, such as 0,30 or */5",
    "hour": "numbers from 0 to 23, ranges, lists and steps, such as 3 or 8-18/2",
    "day-of-month": "numbers from 1 to 31, L for the last day or LW for the last weekday, ranges, lists and "
    "steps",
    "month": "numbers from 1 to 12 or JAN to DEC, ranges, lists and steps",
    "day-of-week": "numbers from 0 to 7 or SUN to SAT, ranges, lists and steps; 5L for the last Friday, "
    "MON#2 for the second Monday",
}
NAMED: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
EXPECTED: Final = f"five fields ({', '.join(FIELDS)}), or one of {', '.join(NAMED)}"

_ANY_TIME: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - local times have no zone here
_MINUTE: Final = timedelta(minutes=1)


class CronError(ValueError):
    """A cron expression is invalid; ``field`` is the invalid field, or empty if the whole text is wrong."""

    def __init__(self, text: str, field: str, value: str, expected: str) -> None:
        place = f"The {field} field of {text!r}" if field else "A cron expression"
        super().__init__(f"{place} is {value!r}; expected {expected}.")
        self.field = field
        self.value = value
        self.expected = expected


@dataclass(frozen=True)
class Cron:
    """A valid cron expression, as five fields."""

    text: str

    @property
    def is_fixed(self) -> bool:
        """True if it has fixed times of the day: neither the minute nor the hour begins with ``*``."""
        minute, hour, *_ = self.text.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def after(self, local: datetime) -> Iterator[datetime]:
        """Yield the local times after ``local``, in order; stop when none follows within 50 years."""
        return self._iterate(_whole_minute(local), reverse=False)

    def until(self, local: datetime) -> Iterator[datetime]:
        """Yield the local times up to and including ``local``, the latest first."""
        return self._iterate(_whole_minute(local) + _MINUTE, reverse=True)

    def _iterate(self, start: datetime, reverse: bool) -> Iterator[datetime]:
        with suppress(OverflowError, ValueError):  # beyond the years that Python supports
            yield from CronSim(self.text, start, reverse=reverse)


def parse(text: str) -> Cron:
    """Parse a cron expression; raises ``CronError``, a ``ValueError`` that names the invalid field."""
    spelled = text.strip()
    if spelled.startswith("@"):
        spelled = NAMED.get(spelled.lower(), spelled)
    fields = spelled.split()
    if len(fields) != len(FIELDS):
        raise CronError(text, "", text, EXPECTED)
    for place, (name, expected) in enumerate(FIELDS.items()):
        alone = ["*"] * len(FIELDS)
        alone[place] = fields[place]
        if not _is_accepted(alone):
            raise CronError(text, name, fields[place], expected)
    if not _is_accepted(fields):
        raise CronError(text, "day-of-month", fields[2], "a day that exists in one of the months")
    return Cron(" ".join(fields).upper())


def _is_accepted(fields: list[str]) -> bool:
    try:
        CronSim(" ".join(fields), _ANY_TIME)
    except (CronSimError, ValueError):  # ValueError: a number with more digits than Python parses
        return False
    return True


def _whole_minute(local: datetime) -> datetime:
    return local.replace(second=0, microsecond=0)
