"""What logs and spans know of each other: ids, not objects.

The subscriber that makes spans sets ``process_span_id``; the one that logs reads it.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

process_span_id: ContextVar[str | None] = ContextVar("partisan_process_span_id", default=None)
"""The id of the run's span, 16 lower-case hex digits, while the run goes on."""

TRACEPARENT: Final = "traceparent"
_IDS: Final = r"(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
VERSION_00: Final = re.compile(rf"00-{_IDS}")
"""A ``traceparent`` as it is written today: trace, span and flags."""
_LATER: Final = re.compile(rf"(?!00|ff)[0-9a-f]{{2}}-{_IDS}(?:-.*)?")


def enqueued_trace_id(headers: Mapping[str, str] | None) -> str | None:
    """Return the trace in which a task was enqueued; anything malformed is ``None``.

    Source: W3C Trace Context, ``traceparent``.
    """
    if not headers:
        return None
    found = headers.get(TRACEPARENT)
    if not isinstance(found, str):
        return None
    match = VERSION_00.fullmatch(found) or _LATER.fullmatch(found)
    return match[1] if match else None
