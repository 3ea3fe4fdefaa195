"""What a task's row can hold of a carried context."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.utils.dateparse import parse_datetime

MAX_BYTES: Final = 4096
"""Longest carried context of one task, as JSON text."""
SCHEDULE: Final = "partisan.schedule"
"""The header with the name of the schedule that enqueued the task."""
SCHEDULED_FOR: Final = "partisan.scheduled_for"
"""The header with the moment of its tick, as text of ISO 8601: a claim fetches no column for it."""

_ESCAPED_BYTES: Final = 12
"""The most bytes that JSON needs for one character."""
_JSON_MARKS: Final = 8
"""Quotes, colon, comma and blanks around each pair, with the braces."""


def decoded(context: str | None) -> dict[str, str] | None:
    """Return the headers in a row's JSON text; ``None`` if there are none, or if they are malformed."""
    if context is None:
        return None
    try:
        headers = json.loads(context)
    except (ValueError, RecursionError):  # the latter where it is nested far too deep
        return None
    if not isinstance(headers, dict):
        return None
    return {key: value for key, value in headers.items() if isinstance(value, str)}


def scheduled_for(context: str | None) -> datetime | None:
    """Return the moment of the tick that enqueued a task; ``None`` if no schedule enqueued it."""
    if context is None or SCHEDULED_FOR not in context:  # without decoding it, for most tasks
        return None
    headers = decoded(context) or {}
    try:
        return parse_datetime(headers.get(SCHEDULED_FOR, ""))
    except ValueError:
        return None


def can_be_stored(collected: Mapping[Any, Any]) -> bool:
    """Return whether ``collected`` maps text to text that PostgreSQL's JSON can hold, and is not too long."""
    try:
        text = "".join((*collected, *collected.values()))
        text.encode()
    except (TypeError, UnicodeEncodeError):  # another type than text, or a lone surrogate
        return False
    if "\0" in text:
        return False
    is_surely_short = len(text) * _ESCAPED_BYTES + len(collected) * _JSON_MARKS <= MAX_BYTES
    return is_surely_short or len(json.dumps(collected)) <= MAX_BYTES  # the usual case writes no JSON
