"""The report as text for people: lines that fit the width, without control characters."""

from collections.abc import Iterable, Iterator
from typing import Final

from django_partisan.formatting import duration_text, moment, number, printable
from django_partisan.management.status.report import QueueStatus, StatusReport
from django_partisan.sql.manager_state import PublishedManager
from django_partisan.sql.overview import ERRORS_AT_MOST, KINDS_AT_MOST

WIDTH: Final = 80
RUNS_SHOWN: Final = 10
"""How many runs of a manager are listed, the longest first; the JSON has all that it published."""

_QUEUE: Final = "{:<17} {:>6} {:>9} {:>10} {:>7} {:>6} {:>6} {:>12}"
_QUEUE_TITLES: Final = ("Queue", "Due", "Scheduled", "In process", "Running", "Failed", "Held", "Oldest due")
_KIND: Final = "{:<6} {:<22} {:<17} {:<22} {}"
_KIND_TITLES: Final = ("Failed", "Processor", "Reason", "Error", "Last")


def as_text(report: StatusReport, width: int = WIDTH) -> list[str]:
    """Return the report as lines of at most ``width`` characters."""
    head = f"django-partisan {report.version}, {moment(report.at)}"
    lines = [head, f"database {report.database}", "", _QUEUE.format(*_QUEUE_TITLES)]
    for queue in report.queues:
        lines += _queue(queue)
    lines += ["", "Managers"]
    for manager in report.managers:
        lines += _manager(manager)
    if not report.managers:
        lines.append("  none")
    lines += _failures(report.queues)
    return [printable(line)[:width] for line in lines]


def _queue(queue: QueueStatus) -> Iterator[str]:
    found = queue.statistics
    numbers = (found.due, found.scheduled, found.in_process, queue.running, found.error, queue.held)
    oldest = duration_text(found.oldest_due_age) if found.due else "-"
    yield _QUEUE.format(_cut(queue.name, 17), *map(number, numbers), oldest)
    if queue.pause is not None:
        until = "" if queue.pause.until is None else f" until {moment(queue.pause.until)}"
        by = f" by {queue.pause.by}" if queue.pause.by else ""
        comment = f": {queue.pause.comment}" if queue.pause.comment else ""
        yield f"  paused{until}{by}{comment}"
    if found.due and not found.managers_alive:
        yield "  no live manager serves it"
    for held in found.held:
        yield f"  held: {number(held.number)} of {held.processor} ({held.reason})"


def _manager(manager: PublishedManager) -> Iterator[str]:
    yield f"  {manager.queue}  {manager.host}:{manager.pid}  {', '.join(_manager_runs(manager))}"
    for run in manager.runs[:RUNS_SHOWN]:
        processor, seconds = _cut(run.processor, 30), duration_text(run.seconds)
        yield f"    task {run.task:<10} {processor:<30} pid {run.pid:<8} {seconds}"
    if len(manager.runs) > RUNS_SHOWN:
        yield f"    and {len(manager.runs) - RUNS_SHOWN} more"


def _manager_runs(manager: PublishedManager) -> Iterator[str]:
    if manager.is_worker:
        yield "worker without its manager"
    elif {"busy", "workers_configured"} <= manager.totals.keys():
        yield f"{manager.totals['busy']} of {manager.totals['workers_configured']} workers busy"
    if not manager.is_alive:
        yield f"dead: no heartbeat for {duration_text(manager.heartbeat_seconds)}"
        return
    if manager.is_draining:
        yield "draining"
    yield f"up {duration_text(manager.started_seconds)}"
    yield manager.version or "an earlier version"
    if not manager.publishes_runs and not manager.is_worker:
        yield "runs unknown"


def _failures(queues: Iterable[QueueStatus]) -> Iterator[str]:
    kinds = sorted((kind for queue in queues for kind in queue.kinds), key=lambda kind: -kind.number)
    if not kinds:
        return
    yield from ("", "Failing in the last day", _KIND.format(*_KIND_TITLES))
    for kind in kinds[:KINDS_AT_MOST]:
        type_name = _cut(kind.error_type.rpartition(".")[2], 22)
        cells = (number(kind.number), _cut(kind.processor, 22), _cut(kind.reason, 17), type_name)
        yield _KIND.format(*cells, duration_text(kind.last_seconds))
    errors = sorted((error for queue in queues for error in queue.errors), key=lambda error: error.seconds)
    yield from ("", "Last errors")
    for error in errors[:ERRORS_AT_MOST]:
        what = ": ".join(filter(None, (error.error_type.rpartition(".")[2] or error.reason, error.message)))
        yield f"  {duration_text(error.seconds)} ago  task {error.task}  {error.processor}  {what}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}~"
