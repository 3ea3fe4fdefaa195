"""Format log records as readable lines for people, with the stack trace of an error below the line."""

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from structlog.dev import ConsoleRenderer, plain_traceback

from django_partisan.logs.ecs import fields_of
from django_partisan.logs.truncation import STACK_TRACE, with_shorter_trace
from django_partisan.telemetry.redaction import cut

_LABEL: Final = "labels."
_SHOWN: Final = {
    "partisan.queue.name": "queue",
    "partisan.worker.slot": "slot",
    "partisan.task.attempt": "attempt",
    "partisan.task.arguments": "arguments",
}
"""Fields shown in addition to labels; the message of an event contains the rest that people look for."""
_SHOWN_IN_OTHER_LINES: Final = {**_SHOWN, "partisan.task.id": "task", "partisan.processor": "processor"}
"""Fields shown in lines that a task or the project logs, because their messages do not name the task."""
_UNPRINTABLE: Final = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "�")
"""Control characters, which could move a terminal's cursor; tabs and line breaks are kept."""


class ConsoleFormatter(logging.Formatter):
    """A formatter for people, in color if ``colors`` is true; its output has at most ``max_bytes`` bytes."""

    def __init__(self, colors: bool, max_bytes: int = 4000) -> None:
        super().__init__()
        self._limit = max_bytes - 1  # without the line break
        self._render = ConsoleRenderer(colors=colors, sort_keys=False, exception_formatter=plain_traceback)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text without its final line break."""
        message, fields = record.getMessage(), fields_of(record)
        text = with_shorter_trace(partial(self._text, record), message, fields, self._limit)
        return cut(text, self._limit)

    def _text(self, record: logging.LogRecord, message: str, fields: Mapping[str, Any]) -> str:
        shown: dict[str, Any] = {
            "timestamp": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created)),
            "level": record.levelname.lower(),
            "event": _one_line(message),
            "logger": record.name.rpartition(".")[2],
        }
        names = _SHOWN if "event.action" in fields else _SHOWN_IN_OTHER_LINES
        for name, value in fields.items():
            short = names.get(name) or (name[len(_LABEL) :] if name.startswith(_LABEL) else None)
            if short is not None:
                shown.setdefault(short, _one_line(value) if isinstance(value, str) else value)
        line = cut(self._render(None, "", shown), self._limit)
        trace = fields.get(STACK_TRACE)
        if trace and record.levelno >= logging.ERROR:
            line += "\n" + _clean(trace.rstrip())
        return line


def _one_line(text: str) -> str:
    return " ".join(_clean(text).splitlines())


def _clean(text: str) -> str:
    return text.translate(_UNPRINTABLE)
