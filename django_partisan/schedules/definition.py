"""What a schedule is: what it enqueues, when it ticks, and how late that may be."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

from django.conf import settings
from django.db.models.expressions import DatabaseDefault

from django_partisan.config.schedule_keys import KEYS, whole_seconds
from django_partisan.schedules import zones
from django_partisan.schedules.cron import parse
from django_partisan.schedules.times import LocalTimes, Multiples, Times

_SECRET: Final = ("args", "kwargs")


@dataclass(frozen=True)
class ScheduleDefinition:
    """The definition of one schedule, as its row has it; exactly one of ``cron`` and ``every`` is given."""

    name: str
    task: str
    cron: str | None
    every: int | None
    """In seconds."""
    args: list[Any]
    kwargs: dict[str, Any]
    queue_name: str | None
    """``None``: that of the task; so for ``priority``."""
    priority: int | None
    time_zone: str | None
    """Of ``cron``; ``None`` beside ``every``."""
    catch_up: str
    overlap: bool
    expires_seconds: float | None

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> "ScheduleDefinition":
        """Make the definition of what settings give, which must be valid; what is missing has its default."""
        values = {key: given.get(key, setting.default) for key, setting in KEYS.items()}
        every, expires = values["every"], values["expires_seconds"]
        values["every"] = None if every is None else whole_seconds(every)
        values["expires_seconds"] = None if expires is None else float(expires)
        values["args"], values["kwargs"] = list(values["args"]), dict(values["kwargs"])
        if values["cron"] is not None and values["time_zone"] is None:
            values["time_zone"] = settings.TIME_ZONE
        return cls(name, **values)

    @classmethod
    def of_row(cls, row: Any) -> "ScheduleDefinition":
        """Return the definition that a row of schedules has.

        Raises ``ValueError`` for a value that is not accepted, which only SQL can have written. Cron texts
        and names are validated where they are used: another host or version may know them.
        """
        given = given_by(row)
        for key, value in given.items():
            if not KEYS[key].rule.accepts(value):
                shown = type(value).__name__ if key in _SECRET else repr(value)
                raise ValueError(f"{key} is {shown}; expected {KEYS[key].rule.expected}.")
        if ("cron" in given) == ("every" in given):
            raise ValueError("The schedule has both or neither of cron and every; expected exactly one.")
        return cls.of(row.name, given)

    @cached_property
    def times(self) -> Times:
        """When it ticks; raises ``ValueError`` for a cron text or a time zone that is not accepted."""
        if self.cron is None:
            return Multiples(self.every or 1)
        return LocalTimes(parse(self.cron), zones.find(self.time_zone or settings.TIME_ZONE))

    def upcoming(self, count: int, after: datetime) -> list[datetime]:
        """Return the next ticks after an aware moment, in the time zone of ``cron``, or else in UTC."""
        zone = zones.UTC if self.time_zone is None else zones.find(self.time_zone)
        return [tick.astimezone(zone) for tick in self.times.upcoming(after, count)]

    def ticks_as(self, other: Any) -> bool:
        """Return whether another definition, or a row of schedules, ticks at the same moments."""
        return _times_of(self) == _times_of(other)

    @cached_property
    def fingerprint(self) -> str:
        """A short text that changes with the definition, and is the same in every process."""
        text = json.dumps(self.as_columns(), sort_keys=True)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def as_columns(self) -> dict[str, Any]:
        """Return the columns that define it, without its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)[1:]}


def _times_of(one: Any) -> tuple[Any, ...]:
    cron = one.cron or None
    return cron, one.every, one.time_zone or (None if cron is None else settings.TIME_ZONE)


def given_by(row: Any) -> dict[str, Any]:
    """Return the keys of a schedule that a row gives; an empty text is none."""
    values = {key: getattr(row, key) for key in KEYS}
    return {
        key: value
        for key, value in values.items()
        if value is not None and value != "" and not isinstance(value, DatabaseDefault)
    }
