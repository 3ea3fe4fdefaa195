"""The definition of a schedule: its task, its times, and how late the task may be enqueued."""

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
from django_partisan.schedules.times import FixedInterval, LocalTimes, Times

_SECRET: Final = ("args", "kwargs")


@dataclass(frozen=True)
class ScheduleDefinition:
    """The definition of a schedule, as stored in its row; exactly one of ``cron`` and ``every`` is set."""

    name: str
    task: str
    cron: str | None
    every: int | None
    """The interval in seconds."""
    args: list[Any]
    kwargs: dict[str, Any]
    queue_name: str | None
    """``None`` for the queue of the task; likewise, ``None`` as ``priority`` for the task's priority."""
    priority: int | None
    time_zone: str | None
    """The time zone of ``cron``; ``None`` with ``every``."""
    catch_up: str
    overlap: bool
    expires_seconds: float | None

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> "ScheduleDefinition":
        """Return the definition for a valid dict, as in the settings; missing keys have their defaults."""
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
        """Return the definition that is stored in a row.

        Raises ``ValueError`` for an invalid value, which only SQL can have written. Cron expressions and
        names are validated when they are used, because another host or version may accept them.
        """
        given = values_of_row(row)
        for key, value in given.items():
            if not KEYS[key].rule.accepts(value):
                shown = type(value).__name__ if key in _SECRET else repr(value)
                raise ValueError(f"{key} is {shown}; expected {KEYS[key].rule.expected}.")
        if ("cron" in given) == ("every" in given):
            raise ValueError("The schedule has both or neither of cron and every; expected exactly one.")
        return cls.of(row.name, given)

    @cached_property
    def times(self) -> Times:
        """The times of the ticks; raises ``ValueError`` for an invalid cron expression or time zone."""
        if self.cron is None:
            return FixedInterval(self.every or 1)
        return LocalTimes(parse(self.cron), zones.find(self.time_zone or settings.TIME_ZONE))

    def upcoming(self, count: int, after: datetime) -> list[datetime]:
        """Return the next ticks after an aware moment, in the time zone of ``cron``, otherwise in UTC."""
        zone = zones.UTC if self.time_zone is None else zones.find(self.time_zone)
        return [tick.astimezone(zone) for tick in self.times.upcoming(after, count)]

    def has_same_ticks(self, other: Any) -> bool:
        """Return whether another definition or row has the same ``cron``, ``every`` and time zone."""
        return _times_of(self) == _times_of(other)

    @cached_property
    def fingerprint(self) -> str:
        """A short text that changes with the definition, and is the same in every process."""
        text = json.dumps(self.as_columns(), sort_keys=True)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def as_columns(self) -> dict[str, Any]:
        """Return the definition as columns of the row, without the name."""
        return {field.name: getattr(self, field.name) for field in fields(self)[1:]}


def _times_of(one: Any) -> tuple[Any, ...]:
    cron = one.cron or None
    return cron, one.every, one.time_zone or (None if cron is None else settings.TIME_ZONE)


def values_of_row(row: Any) -> dict[str, Any]:
    """Return the values that a row sets, by key of a schedule; empty text counts as not set."""
    values = {key: getattr(row, key) for key in KEYS}
    return {
        key: value
        for key, value in values.items()
        if value is not None and value != "" and not isinstance(value, DatabaseDefault)
    }
