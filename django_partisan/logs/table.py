"""Every log event there is: the code, the documentation and the tests all read ``LOG_EVENTS``."""

import logging
from collections.abc import Iterator
from typing import Final

from django_partisan.logs.fields import Field
from django_partisan.logs.log_event import LogEvent
from django_partisan.logs.process_events import PROCESS_LOG_EVENTS
from django_partisan.logs.task_events import TASK_LOG_EVENTS

LOG_EVENTS: Final[dict[type, LogEvent]] = {**TASK_LOG_EVENTS, **PROCESS_LOG_EVENTS}
"""By the kind of event that each is made of."""


def event_rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield, for the documentation, each event's action, level, tellers, fields and occasion."""
    for log_event in LOG_EVENTS.values():
        level = logging.getLevelName(log_event.level).lower()
        if log_event.is_expected is not None:
            level = f"info or {level}"
        named = ", ".join(_described(field) for field in log_event.fields)
        yield log_event.action, level, ", ".join(log_event.by), named, log_event.when


def _described(field: Field) -> str:
    return f"`{field.name}` {field.type}{' (may be absent)' if field.optional else ''}"
