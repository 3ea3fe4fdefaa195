"""Write the line of a completed run without building and encoding a dict and a record.

This line is logged for every task, and most of it is the same each time. It equals the line that the loggers
would have written, byte for byte, and is used only where nothing but our own handler could have seen, changed
or filtered the record.
"""

import logging
import time
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, Final

from django_partisan.config import observability
from django_partisan.logs import cutting
from django_partisan.logs.context import surroundings
from django_partisan.logs.ecs import EcsFormatter, encode, encode_text
from django_partisan.logs.fields import nanoseconds, of_run
from django_partisan.logs.run_events import COMPLETED
from django_partisan.logs.writing import LineHandler
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.telemetry.events.values import Run
from django_partisan.telemetry.trace_context import enqueued_trace_id

KINDS_MAX: Final = 1_000
"""How many kinds of runs (equal except for ids and times) have their parts of the line cached."""

_ID: Final = "partisan.task.id"
_WAIT: Final = "partisan.task.wait_ns"

_KIND: Final = slice(1, Run._fields.index("wait_seconds"))
_LOGGING: Final = logging.addLevelName.__code__.co_filename
_CALLS_OF_LOGGER: Final = ("makeRecord", "handle", "filter", "callHandlers")
_CALLS_OF_HANDLER: Final = ("handle", "filter")
"""The methods that a record passes through; error trackers and agents replace one of them."""


class ShortLine:
    """A writer of the lines of completed runs, for one logger with one handler."""

    def __init__(self, logger: logging.Logger, handler: LineHandler, formatter: EcsFormatter) -> None:
        self._handler = handler
        self._formatter = formatter
        # Only attributes that are the same in all records of this logger are read from it.
        self._record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, "", (), None)

    def write(self, event: TaskCompleted) -> bool:
        """Write the line of a completed run; if it is too long, write nothing and return False."""
        run = event.run
        before, after = _around_id(run[_KIND])
        trace_id = enqueued_trace_id(run.headers)
        enqueued_in = f',"partisan.task.enqueued_trace_id":"{trace_id}"' if trace_id is not None else ""
        message = COMPLETED % (run.id, run.processor, event.seconds)
        # All values are text: the encoder for objects, which takes twice as long, is not needed.
        around = [f"{encode_text(name)}:{encode_text(text)}" for name, text in surroundings().items()]
        formatter = self._formatter
        line = (
            f'{{"@timestamp":"{formatter.timestamp(time.time())}","log.level":"info",'
            f'"message":{encode_text(message)}{formatter.constant(self._record)},'
            f"{before}{run.id}{after}{nanoseconds(run.wait_seconds)}{enqueued_in},"
            f'"event.duration":{nanoseconds(event.seconds)},"event.outcome":"success",'
            f'"event.action":"task.completed",{",".join(around)}}}'
        )
        if cutting.is_longer(line, formatter.max_bytes - 1):
            return False
        self._handler.write_line(line)
        return True


@lru_cache(KINDS_MAX)
def _around_id(kind: Any) -> tuple[str, str]:
    """Return the parts of a line before the task's id, and between the id and the wait."""
    fields = of_run(Run._make((0, *kind, 0.0, None, None)))
    names = list(fields)
    at_id, at_wait = names.index(_ID), names.index(_WAIT)
    before = {name: fields[name] for name in names[:at_id]}
    between = {name: fields[name] for name in names[at_id + 1 : at_wait]}
    return f'{encode(before)[1:-1]},"{_ID}":"', f'",{encode(between)[1:-1]},"{_WAIT}":'


def short_line_of(logger: logging.Logger) -> ShortLine | None:
    """Return a ``ShortLine`` for ``logger``, or ``None`` if anything could notice the difference."""
    handler = _only_handler(logger)
    if (
        handler is None
        or type(handler.formatter) is not EcsFormatter
        or handler.level > logging.INFO
        or logging.getLogRecordFactory() is not logging.LogRecord
        or not all(_is_stdlibs(getattr(logger, name)) for name in _CALLS_OF_LOGGER)
        or not all(_is_stdlibs(getattr(handler, name)) for name in _CALLS_OF_HANDLER)
        or observability.value("LOG_TASK_ARGS")
    ):
        return None
    return ShortLine(logger, handler, handler.formatter)


def _is_stdlibs(call: Any) -> bool:
    # Compare exact types: a wrapper may have all attributes of what it wraps.
    if type(call) is not MethodType or type(call.__func__) is not FunctionType:
        return False
    return call.__func__.__code__.co_filename == _LOGGING


def _only_handler(logger: logging.Logger) -> LineHandler | None:
    """Return our handler if it alone gets the records of ``logger``, without any filter."""
    handlers: list[logging.Handler] = []
    asked: logging.Logger | None = logger
    while asked is not None:
        handlers += asked.handlers
        asked = asked.parent if asked.propagate else None
    if logger.filters or len(handlers) != 1 or handlers[0].filters:
        return None
    return handlers[0] if isinstance(handlers[0], LineHandler) else None
