"""Every log event there is: the code, the documentation and the tests all read ``EVENTS``."""

import logging
from collections.abc import Iterator
from typing import Final

from django_partisan.logs.event import Event
from django_partisan.logs.fields import Field
from django_partisan.logs.process_events import PROCESS_EVENTS
from django_partisan.logs.task_events import TASK_EVENTS

EVENTS: Final[dict[type, Event]] = {**TASK_EVENTS, **PROCESS_EVENTS}
"""By the kind of fact that each is made of."""


def event_rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield, for the documentation, each event's action, level, tellers, fields and occasion."""
    for event in EVENTS.values():
        level = logging.getLevelName(event.level).lower()
        if event.is_expected is not None:
            level = f"info or {level}"
        named = ", ".join(_described(field) for field in event.fields)
        yield event.action, level, ", ".join(event.by), named, event.when


def _described(field: Field) -> str:
    return f"`{field.name}` {field.type}{' (may be absent)' if field.optional else ''}"
