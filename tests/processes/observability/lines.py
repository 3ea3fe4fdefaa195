"""Check the log lines of a real run against the table of events and their fields."""

import json
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from django_partisan.logs import LOG_EVENTS
from django_partisan.logs.fields import COMMON, Field
from django_partisan.logs.log_event import LogEvent

MAX_BYTES: Final = 4000
BY_ACTION: Final[dict[str, LogEvent]] = {event.action: event for event in LOG_EVENTS.values()}
LEVELS: Final = {10: "debug", 20: "info", 30: "warning", 40: "error"}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_keywords(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _is_long(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_date(value: Any) -> bool:
    return _is_text(value) and datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None


_IS: Final[dict[str, Callable[[Any], bool]]] = {
    "keyword": _are_keywords,
    "text": _is_text,
    "wildcard": _is_text,
    "long": _is_long,
    "date": _is_date,
    "boolean": lambda value: isinstance(value, bool),
}


def checked(text: str) -> list[dict[str, Any]]:
    """Return the events of a log, each checked against the table; no line is too long or torn."""
    events = []
    for line in text.splitlines():
        assert len(line.encode()) < MAX_BYTES, line
        event = json.loads(line)
        _check(event)
        events.append(event)
    ids = [event["event.id"] for event in events]
    assert len(set(ids)) == len(ids)
    return events


def _check(line: dict[str, Any]) -> None:
    action = line.get("event.action")
    if action is None:  # logged by a task
        assert line["log.logger"] == "django_partisan.task", line
        _check_fields(line, list(COMMON), others_allowed=True)
        return
    log_event = BY_ACTION[action]
    _check_fields(line, [*COMMON, *log_event.fields])
    assert line["log.logger"].removeprefix("django_partisan.") in log_event.by, line
    lowest, level = LEVELS[log_event.lowest_level()], line["log.level"]
    assert level in (lowest, LEVELS[log_event.level]), line


def _check_fields(line: dict[str, Any], fields: list[Field], others_allowed: bool = False) -> None:
    declared = {field.name: field for field in fields}
    for name, value in line.items():
        if name.startswith("labels."):
            assert _is_text(value), (name, line)
        elif name in declared:
            assert _IS[declared[name].type](value), (name, line)
        else:
            assert others_allowed, (name, line)
            assert name.startswith(("partisan.", "error.")), (name, line)
    demanded = {field.name for field in fields if not field.optional}
    assert demanded <= line.keys(), (demanded - line.keys(), line)
    for parent, child in pairwise(sorted(line)):
        assert not child.startswith(f"{parent}."), (parent, child)
