"""Trace ids that logs, spans and the admin share, as text instead of a library's objects.

The tracing subscriber sets ``process_span_id``; the logging subscriber reads it.
"""

import re
from contextvars import ContextVar
from typing import Any, Final

process_span_id: ContextVar[str | None] = ContextVar("partisan_process_span_id", default=None)
"""The id of the run's span, 16 lower-case hex digits, while the run is in progress."""

TRACEPARENT: Final = "traceparent"
# Version 00 ends after its flags; later versions may continue.
_PATTERN: Final = re.compile(
    r"(?:(00)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"(?(1)|(?:-.*)?)"
)


def enqueued_trace_id(headers: Any) -> str | None:
    """Return the id of the trace in which a task was enqueued; ``None`` if its row carries no valid id.

    Source: W3C Trace Context, ``traceparent``.
    """
    text = headers.get(TRACEPARENT) if isinstance(headers, dict) else None
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    return match[2] if match else None
