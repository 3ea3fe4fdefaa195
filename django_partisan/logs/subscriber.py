"""The subscriber that logs, and the structlog loggers it and the tasks log with."""

import logging
from contextlib import AbstractContextManager
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from django_partisan.logs import context, trouble
from django_partisan.logs.ecs import EVENT_CONSTANTS, RECORD_FIELDS
from django_partisan.logs.fields import of_task
from django_partisan.logs.log_event import APP, ROLES
from django_partisan.logs.short_line import ShortLine, short_line_of
from django_partisan.logs.table import LOG_EVENTS
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    Event,
    Run,
    Running,
    Scope,
    TaskCompleted,
    TaskRef,
)

LOGGER: Final = "django_partisan"
TASK_LOGGER: Final = f"{LOGGER}.task"


class LogSubscriber(bus.Subscriber):
    """Log events as the events of the table, on the logger of this process's role.

    In an application process the level is asked at each event, as it may change at any time there.
    """

    name = trouble.COUNTED_AS

    def __init__(self, role: str = APP) -> None:
        self.become(role)

    def become(self, role: str) -> None:
        """Log as ``app``, ``manager`` or ``worker`` from now on; takes effect with ``bus.refresh()``."""
        self._role = role
        self._stdlib = logging.getLogger(f"{LOGGER}.{role}")
        self._logger = LOGGERS[role]
        self._short_line: ShortLine | None = None

    def wants(self, kind: type[Event]) -> bool:
        log_event = LOG_EVENTS.get(kind)
        if log_event is None:
            return False
        is_wanted = self._role == APP or self._stdlib.isEnabledFor(log_event.lowest_level())
        if kind is TaskCompleted:  # asked again when handlers and filters may be others, as this is
            self._short_line = short_line_of(self._stdlib) if is_wanted and output.is_ours else None
        return is_wanted

    def handle(self, event: Event) -> None:
        log_event = LOG_EVENTS[type(event)]
        level = log_event.level_of(event)
        if not self._stdlib.isEnabledFor(level):
            return
        try:
            if (
                isinstance(event, TaskCompleted)
                and self._short_line is not None
                and self._short_line.tell(event)
            ):
                return
            values = log_event.values(event)
            values["event.action"] = log_event.action
            self._logger.tell(level, log_event.wording(event), values)
        except Exception:
            trouble.note(f"The event {log_event.action} could not be logged")

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        return context.bound_while_running(scope.run.headers if isinstance(scope, Running) else None)

    def surrounds_every_run(self) -> bool:
        return False  # what is bound around a run is what its task carries

    def headers(self) -> dict[str, str]:
        return context.carried_headers()


def task_logger(run: Run | TaskRef) -> Any:
    """Return a structlog logger bound to a task, for what the task itself has to say.

    A key that its caller gives is told as ``labels.<key>``; a line that cannot be logged is counted,
    and raises nothing into the task.
    """
    return _TaskLogger(logging.getLogger(TASK_LOGGER), _TASK_PROCESSORS, dict(of_task(run)))


class _EventLogger(structlog.BoundLoggerBase):
    """Log an event by the stdlib logger, in half the time of ``structlog.stdlib.BoundLogger``.

    The event's keys pass through one call instead of five, and no frames are walked for a caller.
    """

    def tell(self, level: int, message: str, fields: dict[str, Any]) -> None:
        _, call = self._process_event("", message, fields)
        logger: logging.Logger = self._logger
        place = (__file__, 0)
        logger.handle(
            logger.makeRecord(logger.name, level, *place, call["msg"], (), None, None, call["extra"])
        )


class _TaskLogger(structlog.stdlib.BoundLogger):
    """Log for a task without ever raising into it."""

    def _proxy_to_logger(
        self, method_name: str, event: str | None = None, *event_args: str, **event_kw: Any
    ) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, *event_args, **event_kw)
        except Exception:
            return trouble.note("A line of a task could not be logged")


def _surround(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Add ids and context."""
    event_dict.update(context.surroundings())
    return event_dict


def _label(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Make labels of all keys that a task's own code gave."""
    given = {name: event_dict.pop(name) for name in list(event_dict) if name not in _NO_LABEL}
    return {**context.surroundings(), **context.labels(given), **event_dict}


def _hand_over(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Turn the event into a call of the stdlib logger, whose handlers may be anybody's."""
    message = event_dict.pop("event", "")
    passed_on = {name: event_dict.pop(name) for name in _STDLIB_ARGUMENTS if name in event_dict}
    extra = {RECORD_FIELDS: event_dict} if output.is_ours else {**EVENT_CONSTANTS, **event_dict}
    return {"msg": message, "extra": extra, **passed_on}


class Output:
    """Whose handlers write: where they are ours, a record carries its fields in one piece."""

    is_ours = False


output: Final = Output()

_STDLIB_ARGUMENTS: Final = ("exc_info", "stack_info", "stacklevel")
_NO_LABEL: Final = frozenset(
    {"event", "partisan.queue.name", *of_task(TaskRef(0, "", "", 0, 0, 0, 0)), *_STDLIB_ARGUMENTS}
)
_TASK_PROCESSORS: Final[list[Processor]] = [
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _label,
    _hand_over,
]
LOGGERS: Final[dict[str, _EventLogger]] = {
    role: _EventLogger(logging.getLogger(f"{LOGGER}.{role}"), [_surround, _hand_over], {}) for role in ROLES
}
