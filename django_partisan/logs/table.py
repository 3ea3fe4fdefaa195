"""The table of all log events, which the code, the documentation and the tests read.

Importing the modules declares their log events, in the order in which the documentation lists them.
"""

import logging
from collections.abc import Iterator

import django_partisan.logs.task_events  # isort: split

import django_partisan.logs.process_events  # noqa: F401
from django_partisan.logs.fields import Field
from django_partisan.logs.log_event import LOG_EVENTS

__all__ = ["LOG_EVENTS", "event_rows"]


def event_rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield, for the documentation, each log event's action, level, roles, fields and occasion."""
    for log_event in LOG_EVENTS.values():
        level = logging.getLevelName(log_event.level).lower()
        if log_event.is_expected is not None:
            level = f"info or {level}"
        named = ", ".join(_described(field) for field in log_event.fields)
        yield log_event.action, level, ", ".join(log_event.by), named, log_event.when


def _described(field: Field) -> str:
    return f"`{field.name}` {field.type}{' (may be absent)' if field.optional else ''}"
