"""The context of a log line: context variables that a task carries, labels, and span ids."""

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Final

from opentelemetry.trace import INVALID_SPAN, get_current_span
from structlog.contextvars import bound_contextvars, get_contextvars

from django_partisan.config import observability
from django_partisan.telemetry import redaction
from django_partisan.telemetry.task_context import SCHEDULE
from django_partisan.telemetry.trace_context import process_span_id

CARRIED_PREFIX: Final = "ctx."
"""The prefix of the header of each carried key; no propagator's header contains a dot."""
LABEL_NAME_MAX: Final = 128
SCHEDULE_LABEL: Final = "schedule"
"""The label that names the schedule in the lines of a run that it enqueued."""

_NOTHING: Final = nullcontext()
_is_carried: Final = re.compile(f"{re.escape(CARRIED_PREFIX)}|{re.escape(SCHEDULE)}$").match


def carried_headers() -> dict[str, str]:
    """Return the context variables named by ``CARRY_CONTEXT`` as headers to store with a task."""
    if not (bound := get_contextvars()):
        return {}
    return {
        CARRIED_PREFIX + key: _storable(bound[key])
        for key in observability.value("CARRY_CONTEXT")
        if bound.get(key) is not None
    }


def bound_while_running(headers: Mapping[str, str] | None) -> AbstractContextManager[None]:
    """Return a context manager that binds the keys carried in a task's headers as context variables."""
    found = carried(headers)
    return bound_contextvars(**found) if found else _NOTHING


def carried(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the keys carried in a task's headers, except malformed ones and those not in ``CARRY_CONTEXT``.

    For a task that a schedule enqueued, ``schedule`` is the name of that schedule.
    """
    if not headers or not any(map(_is_carried, headers)):  # most tasks carry only a trace context
        return {}
    keys = [(key, CARRIED_PREFIX + key) for key in observability.value("CARRY_CONTEXT")]
    found = ((key, headers.get(header)) for key, header in [*keys, (SCHEDULE_LABEL, SCHEDULE)])
    return {key: value for key, value in found if isinstance(value, str)}


def event_id() -> str:
    """Return an id that no other line has: a random part for the process, and a number."""
    return next(_ids_of(os.getpid()))  # a forked process gets its own ids, even if no fork hook has run


@cache
def _ids_of(pid: int) -> Iterator[str]:
    return map(f"{os.urandom(8).hex()}-{{:x}}".format, itertools.count(1))


def current_fields() -> dict[str, Any]:
    """Return a new event id, and the fields for the current span, the run's span and the bound context."""
    fields: dict[str, Any] = {"event.id": event_id()}
    span = get_current_span()
    if span is not INVALID_SPAN and (ids := span.get_span_context()).is_valid:
        fields["trace.id"] = format(ids.trace_id, "032x")
        fields["span.id"] = format(ids.span_id, "016x")
    if transaction := process_span_id.get():
        fields["transaction.id"] = transaction
    if bound := get_contextvars():
        fields.update(labels(bound))
    return fields


def labels(context: Mapping[Any, Any]) -> dict[str, str]:
    """Return context as ``labels.*`` fields: flat, text only, redacted, at most 1 KiB each."""
    parts = observability.value("REDACT_KEYS")
    found = {}
    for key, value in context.items():
        if value is not None:
            name = redaction.readable(key)
            if redaction.is_secret(name, parts):
                text = redaction.REDACTED
            else:
                text = _text(redaction.redact(value, parts) if isinstance(value, str) else value)
            found["labels." + (name.replace(".", "_")[:LABEL_NAME_MAX] or "_")] = text
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        try:
            return redaction.shown(value)
        except Exception:
            return f"[unprintable {type(value).__name__}]"
    return redaction.cut(redaction.readable(value), redaction.SHOWN_MAX_BYTES)


def _storable(value: Any) -> str:
    """Return text that PostgreSQL's JSON can store."""
    return _text(value).replace("\0", "").encode("utf-8", "replace").decode()
