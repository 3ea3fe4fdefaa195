"""Check and decode the context that a task's row carries."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.utils.dateparse import parse_datetime

MAX_BYTES: Final = 4096
"""The maximum size of a task's carried context, in bytes of JSON text."""
SCHEDULE: Final = "partisan.schedule"
"""The header with the name of the schedule that enqueued the task."""
SCHEDULED_FOR: Final = "partisan.scheduled_for"
"""The header with the time of the schedule's tick, as ISO 8601 text, so that a claim fetches no column for
it."""

_ESCAPED_BYTES: Final = 12
"""The maximum number of bytes that JSON needs for one character."""
_JSON_MARKS: Final = 8
"""The bytes of the quotes, colon, comma and spaces of each pair, including the braces."""


def decoded(context: str | None) -> dict[str, str] | None:
    """Return the headers from a row's JSON text; ``None`` if there are none or they are malformed."""
    if context is None:
        return None
    try:
        headers = json.loads(context)
    except (ValueError, RecursionError):  # RecursionError if it is nested far too deep
        return None
    if not isinstance(headers, dict):
        return None
    return {key: value for key, value in headers.items() if isinstance(value, str)}


def scheduled_for(context: str | None) -> datetime | None:
    """Return the time of the tick that enqueued a task; ``None`` if no schedule enqueued it."""
    if context is None or SCHEDULED_FOR not in context:  # most tasks: no decoding needed
        return None
    headers = decoded(context) or {}
    try:
        return parse_datetime(headers.get(SCHEDULED_FOR, ""))
    except ValueError:
        return None


def can_be_stored(collected: Mapping[Any, Any]) -> bool:
    """Return whether ``collected`` is not too long and maps text to text that PostgreSQL's JSON can store."""
    try:
        text = "".join((*collected, *collected.values()))
        text.encode()
    except (TypeError, UnicodeEncodeError):  # not text, or a lone surrogate
        return False
    if "\0" in text:
        return False
    is_surely_short = len(text) * _ESCAPED_BYTES + len(collected) * _JSON_MARKS <= MAX_BYTES
    return is_surely_short or len(json.dumps(collected)) <= MAX_BYTES  # usually no JSON is written
