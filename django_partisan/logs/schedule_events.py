"""The log events of schedules and their ticks."""

from logging import ERROR, INFO, WARNING
from typing import Any, Final

from django_partisan.logs.fields import (
    ERROR_FIELDS,
    QUEUE,
    Field,
    beginning,
    count,
    keyword,
    long,
    nanoseconds,
    of_error,
    quoted,
    without_none,
)
from django_partisan.logs.log_event import APP, MANAGER, WORKER, Line, log_event
from django_partisan.outcomes import OPERATION_COMPARE, OPERATION_ENQUEUE, OPERATION_LOOK_UP
from django_partisan.telemetry.events.schedules import (
    ScheduleChanged,
    ScheduleFailed,
    ScheduleMissed,
    ScheduleOperationFailed,
    SchedulePaused,
    ScheduleResumed,
    ScheduleSkipped,
    ScheduleTicked,
)

_SCHEDULE: Final = keyword("partisan.schedule.name")
_NAMED: Final = (_SCHEDULE, keyword("partisan.processor"))
_SCHEDULED_FOR: Final = Field("partisan.task.scheduled_for", "date")
_NEXT_AT: Final = Field("partisan.schedule.next_at", "date", optional=True)


@log_event(
    ScheduleTicked,
    "schedule.ticked",
    INFO,
    "Schedule %s: task %s (%s), scheduled for %s: %s",
    by=(MANAGER, APP, WORKER),
    fields=(
        *_NAMED,
        QUEUE,
        keyword("partisan.task.id"),
        _SCHEDULED_FOR,
        keyword("partisan.schedule.outcome"),
        long("partisan.schedule.lateness_ns"),
    ),
    when="a manager enqueued the task of a tick, or someone ran the schedule by hand; also if a duplicate "
    "was already waiting",
)
def ticked(event: ScheduleTicked) -> Line:
    moment = event.scheduled_for.isoformat()
    return (event.schedule, event.task_id, event.processor, moment, event.outcome), {
        **_schedule_fields(event),
        "partisan.queue.name": event.queue,
        "partisan.task.id": str(event.task_id),
        "partisan.task.scheduled_for": moment,
        "partisan.schedule.outcome": event.outcome,
        "partisan.schedule.lateness_ns": nanoseconds(event.lateness_seconds),
    }


@log_event(
    ScheduleSkipped,
    "schedule.skipped",
    INFO,
    "Schedule %s skipped the tick for %s: task %s has not ended",
    by=(MANAGER,),
    fields=(*_NAMED, QUEUE, keyword("partisan.task.id"), _SCHEDULED_FOR),
    when="a schedule with `overlap` set to `False` has a tick while its last task is waiting or running",
)
def skipped(event: ScheduleSkipped) -> Line:
    moment = event.scheduled_for.isoformat()
    return (event.schedule, moment, event.task_id), {
        **_schedule_fields(event),
        "partisan.queue.name": event.queue,
        "partisan.task.id": str(event.task_id),
        "partisan.task.scheduled_for": moment,
    }


@log_event(
    ScheduleMissed,
    "schedule.missed",
    WARNING,
    "Schedule %s missed %s up to %s",
    by=(MANAGER,),
    fields=(*_NAMED, long("partisan.schedule.missed"), _SCHEDULED_FOR),
    when="ticks were too late to be enqueued, according to `catch_up` or the expiry; the line contains the "
    "time of the newest one",
)
def missed(event: ScheduleMissed) -> Line:
    moment = event.newest_at.isoformat()
    return (event.schedule, count(event.number, "tick"), moment), {
        **_schedule_fields(event),
        "partisan.schedule.missed": event.number,
        "partisan.task.scheduled_for": moment,
    }


@log_event(
    ScheduleFailed,
    "schedule.failed",
    ERROR,
    "Schedule %s could not enqueue %s: %s",
    by=(MANAGER,),
    fields=(*_NAMED, _SCHEDULED_FOR, *ERROR_FIELDS),
    when="a tick could not be enqueued and will be tried again; logged once until the kind of error changes",
)
def failed(event: ScheduleFailed) -> Line:
    return (event.schedule, event.processor, quoted(event.error)), {
        **_schedule_fields(event),
        "partisan.task.scheduled_for": event.scheduled_for.isoformat(),
        **of_error(event.error),
    }


_OPERATIONS: Final = {
    OPERATION_COMPARE: "compare {} with the settings",
    OPERATION_ENQUEUE: "enqueue ticks of {}",
    OPERATION_LOOK_UP: "look up the tasks of {}",
}


@log_event(
    ScheduleOperationFailed,
    "schedules.operation_failed",
    ERROR,
    "Could not %s: %s",
    by=(MANAGER,),
    fields=(
        QUEUE,
        keyword("partisan.schedule.operation"),
        keyword(_SCHEDULE.name, optional=True),
        *ERROR_FIELDS,
    ),
    when="an operation failed for all schedules, or only for the one that the line names: `compare` (compare "
    "settings and rows), `enqueue` (enqueue ticks) or `look_up` (look up ended tasks). The operation is "
    "tried again after 1 to 60 s (`look_up`: after about a minute). Each kind of error is logged once, and "
    "again if it occurs after ten minutes without it. A lock that another transaction holds is logged only "
    "after five failed attempts in a row",
)
def operation_failed(event: ScheduleOperationFailed) -> Line:
    which = "schedules" if event.schedule is None else f"schedule {event.schedule}"
    return (_OPERATIONS[event.operation].format(which), quoted(event.error)), {
        "partisan.queue.name": event.queue,
        "partisan.schedule.operation": event.operation,
        **without_none({_SCHEDULE.name: event.schedule}),
        **of_error(event.error),
    }


@log_event(
    ScheduleChanged,
    "schedule.changed",
    INFO,
    "Schedule %s, defined in the %s: %s",
    by=(MANAGER, APP, WORKER),
    fields=(
        *_NAMED,
        keyword("partisan.schedule.origin"),
        keyword("partisan.schedule.change"),
        _NEXT_AT,
    ),
    when="a schedule was `added`, `changed`, `stopped` (no live manager lists it), `restarted` or `removed`",
)
def changed(event: ScheduleChanged) -> Line:
    return (event.schedule, event.origin, event.change), {
        **_schedule_fields(event),
        "partisan.schedule.origin": event.origin,
        "partisan.schedule.change": event.change,
        **_next_tick_fields(event),
    }


@log_event(
    SchedulePaused,
    "schedule.paused",
    INFO,
    "Schedule %s paused%s",
    by=(APP, WORKER),
    fields=(_SCHEDULE, Field("partisan.pause.comment", "text", optional=True)),
    when="a schedule was paused",
)
def paused(event: SchedulePaused) -> Line:
    said = f": {beginning(event.comment)}" if event.comment else ""
    return (event.schedule, said), {
        _SCHEDULE.name: event.schedule,
        **without_none({"partisan.pause.comment": event.comment or None}),
    }


@log_event(
    ScheduleResumed,
    "schedule.resumed",
    INFO,
    "Schedule %s resumed; %s",
    by=(APP, WORKER),
    fields=(_SCHEDULE, _NEXT_AT),
    when="a schedule was resumed",
)
def resumed(event: ScheduleResumed) -> Line:
    moment = "no next tick" if event.next_at is None else f"next tick at {event.next_at.isoformat()}"
    return (event.schedule, moment), {_SCHEDULE.name: event.schedule, **_next_tick_fields(event)}


def _schedule_fields(
    event: (ScheduleTicked | ScheduleSkipped | ScheduleMissed | ScheduleFailed | ScheduleChanged),
) -> dict[str, Any]:
    return {_SCHEDULE.name: event.schedule, "partisan.processor": event.processor}


def _next_tick_fields(event: ScheduleChanged | ScheduleResumed) -> dict[str, Any]:
    return without_none({_NEXT_AT.name: None if event.next_at is None else event.next_at.isoformat()})
