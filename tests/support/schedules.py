"""Rows of schedules that look as if they had existed for a while."""

import time
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

from django_partisan.models import Schedule
from django_partisan.schedules.definition import ScheduleDefinition
from tests.support.database import first_value

HOUR = 3600
PERIOD = next(
    seconds for seconds in count(24 * HOUR, HOUR) if 3 * HOUR < time.time() % seconds < seconds - 3 * HOUR
)
"""An interval of about a day, with the nearest ticks hours away at any time: none is due during a test."""
UNREADABLE = "('[' || repeat('9', 5000) || ']')::jsonb"
"""SQL for JSON that PostgreSQL stores, with an integer of too many digits for any version of Python."""
NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)


def defined(name: str = "nightly", **columns: Any) -> ScheduleDefinition:
    """Return a schedule definition, hourly by default."""
    return ScheduleDefinition.of(
        name, {"task": "Letter", **({} if "cron" in columns else {"every": 3600}), **columns}
    )


def server_now() -> datetime:
    """Return the current time of the database's clock."""
    return datetime.fromtimestamp(
        float(first_value("SELECT extract(epoch FROM clock_timestamp())")), timezone.utc
    )


def last_multiple(seconds: int) -> datetime:
    """Return the last tick of a schedule that ticks every ``seconds`` seconds."""
    now = server_now()
    return now - timedelta(seconds=now.timestamp() % seconds)


def periods(number: int) -> timedelta:
    """Return the time between ``number`` ticks of schedules with that interval."""
    return timedelta(seconds=number * PERIOD)


def add_schedule(name: str = "nightly", **columns: Any) -> Schedule:
    """Insert a schedule row, by default with an interval of about a day and one due tick."""
    if "every" not in columns and "cron" not in columns:
        columns["every"] = PERIOD
    values: dict[str, Any] = {"task": "Letter", **columns}
    if "next_at" not in values:
        values["next_at"] = last_multiple(values["every"])
    [row] = Schedule.objects.bulk_create([Schedule(name=name, **values)])
    return row


def outcomes_of(name: str = "nightly") -> list[str]:
    """Return the outcomes of the recent ticks of a schedule."""
    return [tick["outcome"] for tick in Schedule.objects.get(pk=name).recent_ticks]
