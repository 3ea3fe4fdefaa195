"""The subscriber that logs events, and the structlog loggers that tasks log with."""

import logging
import time
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.logs import context, dropped, exporting, host_handlers, write_errors
from django_partisan.logs.dropped import Dropped
from django_partisan.logs.ecs import EVENT_CONSTANTS, RECORD_FIELDS
from django_partisan.logs.fields import of_task
from django_partisan.logs.handlers import LineHandler
from django_partisan.logs.log_event import APP, MANAGER, WORKER
from django_partisan.logs.logging_thread import LoggingThread
from django_partisan.logs.table import LOG_EVENTS
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.scopes import Running, Scope
from django_partisan.telemetry.events.tasks import TaskEnqueueFailed
from django_partisan.telemetry.events.values import Run, TaskRef
from django_partisan.telemetry.host_traceback import ExcInfo, exc_info_of

LOGGER: Final = "django_partisan"
TASK_LOGGER: Final = f"{LOGGER}.task"
CLOSE_SECONDS: Final = 2.0
"""How long a process waits at most for stalled handlers and readers when it ends."""

LAST_EXPORT_SECONDS: Final = 1.0
"""How long a process waits at most for OpenTelemetry to export its last lines when it ends."""


class LogSubscriber(bus.Subscriber):
    """The subscriber that logs events as ``LOG_EVENTS`` declares, on the logger of this process's role.

    In an application process the level is checked for each event, because it can change at any time there.
    In a manager, whose loop must not wait, a thread calls the handlers.
    """

    name = write_errors.COUNTED_AS

    def __init__(self, role: str = APP) -> None:
        self.set_role(role)

    def set_role(self, role: str, queue: str = DEFAULT_QUEUE) -> None:
        """Log as ``app``, ``manager`` or ``worker`` from now on; takes effect with ``bus.refresh()``."""
        self._role = role
        self._logger = logging.getLogger(f"{LOGGER}.{role}")
        self._thread = LoggingThread(Dropped(queue, log=self.handle)) if role == MANAGER else None
        self.is_stuck = False

    def wants(self, kind: type[Event]) -> bool:
        log_event = LOG_EVENTS.get(kind)
        if log_event is None:
            return kind in dropped.EVENTS
        return self._role == APP or self._logger.isEnabledFor(log_event.level)

    def wants_in_bulk(self, kind: type[Event]) -> bool:
        return self._logger.isEnabledFor(LOG_EVENTS[kind].lowest_level())

    def handle(self, event: Event) -> None:
        if type(event) in dropped.EVENTS:
            dropped.note(event)
            self.absorb(0, {})  # wakes the thread that reports it
        log_event = LOG_EVENTS.get(type(event))
        if log_event is None:
            return
        level = log_event.level_of(event)
        if not self._logger.isEnabledFor(level):
            return
        try:
            arguments, fields = log_event.line(event)
            fields["event.action"] = log_event.action
            fields.update(context.current_fields())
            error = self._exc_info(event) if level >= logging.ERROR else None
            logger, message, extra = self._logger, log_event.message, _extra(fields)
            # Finding the caller in the frames would take as long as everything else.
            record = logger.makeRecord(
                logger.name, level, __file__, 0, message, arguments, error, None, extra
            )
            if self._thread is None:
                logger.handle(record)
            else:
                self._thread.log(record)
        except Exception:
            write_errors.note(f"The event {log_event.action} could not be logged")

    def _exc_info(self, event: Any) -> ExcInfo | None:
        """Return the exception of an error, for handlers such as error trackers or mail.

        In a worker a failed enqueueing has none: the run raises it too, and may be retried.
        """
        exception = getattr(getattr(event, "error", None), "exception", None)
        is_of_run = self._role == WORKER and type(event) is TaskEnqueueFailed
        return None if exception is None or is_of_run else exc_info_of(exception)

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        return context.bound_while_running(scope.run.headers if isinstance(scope, Running) else None)

    def surrounds_every_run(self) -> bool:
        return False  # only what a task carries is bound around its run

    def headers(self) -> dict[str, str]:
        return context.carried_headers()

    def take(self) -> dict[str, int] | None:
        """Return how much this worker dropped since the last report, by reason."""
        return dropped.taken() or None

    def absorb(self, slot: int, value: dict[str, int]) -> None:
        """Report what a worker dropped."""
        if self._thread is not None:
            self._thread.add_dropped(value)

    def close(self, timeout: float) -> None:
        """Wait until all lines are written; drop the rest after half of ``timeout`` or ``CLOSE_SECONDS``.

        The shorter limit applies. The export of lines may use the remaining time, at most
        ``LAST_EXPORT_SECONDS``. In a worker, flush the project's handlers too, because a worker ends
        without the interpreter's normal shutdown.
        """
        end = time.monotonic() + timeout
        deadline = end - timeout + min(timeout / 2, CLOSE_SECONDS)
        if self._role == WORKER:
            host_handlers.flush(deadline - time.monotonic())
        if self._thread is not None:
            self.is_stuck = not self._thread.close(deadline - time.monotonic())
        for handler in (*logging.getLogger(LOGGER).handlers, logging.lastResort):
            if isinstance(handler, LineHandler) and not handler.writer.drain(deadline - time.monotonic()):
                handler.writer.drop_kept()
        # Otherwise a manager's exit would flush, and wait much longer. Most lines were exported with the
        # spans.
        self.is_stuck |= not exporting.flush(min(max(0.0, end - time.monotonic()), LAST_EXPORT_SECONDS))


def task_logger(run: Run | TaskRef) -> structlog.stdlib.BoundLogger:
    """Return a structlog logger bound to a task, for the task's own lines.

    A key that the caller passes is logged as ``labels.<key>``. A line that cannot be logged is counted and
    does not raise into the task.
    """
    return _TaskLogger(logging.getLogger(TASK_LOGGER), _TASK_PROCESSORS, of_task(run))


class _TaskLogger(structlog.stdlib.BoundLogger):
    """A logger for a task that never raises into the task."""

    def _proxy_to_logger(
        self, method_name: str, event: str | None = None, *event_args: str, **event_kw: Any
    ) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, *event_args, **event_kw)
        except Exception:
            return write_errors.note("A line of a task could not be logged")


def _as_record(
    _logger: WrappedLogger, _method: str, event_dict: EventDict
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn a task's line into arguments for the stdlib logger; the task's own keys become labels.

    The message stays a template, because error trackers group by it. Raises if its arguments do not fit.
    """
    passed_on = {name: event_dict.pop(name) for name in _STDLIB_ARGUMENTS if name in event_dict}
    message, arguments = event_dict.pop("event", ""), event_dict.pop("positional_args", ())
    logging.LogRecord("", 0, "", 0, message, arguments, None).getMessage()
    of_run = {name: event_dict.pop(name) for name in _TASK_FIELDS if name in event_dict}
    fields = {**context.current_fields(), **context.labels(event_dict), **of_run}
    return (message, *arguments), {"extra": _extra(fields), **passed_on}


def _extra(fields: dict[str, Any]) -> dict[str, Any]:
    return {RECORD_FIELDS: fields} if output.is_ours else {**EVENT_CONSTANTS, **fields}


output: Final = SimpleNamespace(is_ours=False)
"""Whether our handlers write the lines; if so, a record carries its fields in one attribute."""

_STDLIB_ARGUMENTS: Final = ("exc_info", "stack_info", "stacklevel")
_TASK_FIELDS: Final = tuple(of_task(TaskRef(0, "", "", 0, 0, 0, 0)))
_TASK_PROCESSORS: Final[list[Processor]] = [
    structlog.stdlib.filter_by_level,
    _as_record,
]
