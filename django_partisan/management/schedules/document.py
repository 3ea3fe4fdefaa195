"""Schedules as JSON for programs: one object for each, all moments in ISO 8601 with their offset."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils.timezone import get_default_timezone, is_naive, make_aware

from django_partisan.management.schedules.report import ScheduleStatus
from django_partisan.telemetry.redaction import redact


def as_json(schedules: Iterable[ScheduleStatus]) -> list[str]:
    """Return the schedules as the lines of a JSON array, one line for each."""
    return _array([_object(status) for status in schedules])


def moments_as_json(moments: Iterable[datetime]) -> list[str]:
    """Return moments as the lines of a JSON array."""
    return _array([iso(moment) for moment in moments])


def iso(moment: datetime) -> str:
    """Return a moment with its offset, which the database leaves out if ``USE_TZ`` is ``False``."""
    return (make_aware(moment, get_default_timezone()) if is_naive(moment) else moment).isoformat()


def _array(items: list[Any]) -> list[str]:
    """Return the lines of an array in ASCII: texts may contain control characters for the terminal."""
    lines = [json.dumps(item) for item in items]
    return ["[", *(f"  {line}," for line in lines[:-1]), *(f"  {line}" for line in lines[-1:]), "]"]


def _object(status: ScheduleStatus) -> dict[str, Any]:
    row, last = status.row, status.last
    columns = status.definition.as_columns()
    return {
        "name": status.definition.name,
        **columns,
        "args": redact(columns["args"]),
        "kwargs": redact(columns["kwargs"]),
        "origin": status.origin,
        "state": status.state,
        "hides_settings": status.hides_settings,
        "next_at": _iso_or_none(status.next_at),
        "last_at": _iso_or_none(status.last_at),
        "last_outcome": last.get("outcome"),
        "last_task": last.get("task"),
        "last_ended": last.get("ended"),
        "paused": row is not None and row.paused,
        "comment": "" if row is None else row.comment,
        "error": "" if row is None else row.error,
        "totals": {} if row is None else row.totals,
    }


def _iso_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
