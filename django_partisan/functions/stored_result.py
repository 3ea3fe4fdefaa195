"""The result of a task, read from its row, as an object of the framework."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any, Final

from django.utils.dateparse import parse_datetime

from django_partisan import models
from django_partisan.functions import priorities
from django_partisan.functions.framework import AnyTask, BaseTaskResult, as_stored, base

_STATUS: Final = {
    models.Task.STATUS_NEW: base.TaskResultStatus.READY,
    models.Task.STATUS_IN_PROCESS: base.TaskResultStatus.RUNNING,
    models.Task.STATUS_ERROR: base.TaskResultStatus.FAILED,
    models.Task.STATUS_FINISHED: base.TaskResultStatus.SUCCESSFUL,
}
_REFRESHED: Final = ("attempt_count", *base.TASK_REFRESH_ATTRS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTaskResult(BaseTaskResult):  # type: ignore[misc, type-arg] # in the stubs
    """A result that counts every run; the history of a row may have forgotten some of their workers."""

    attempt_count: int = 0

    @property
    def attempts(self) -> int:
        """How many runs have begun."""
        return self.attempt_count

    def refresh(self) -> None:
        """Read what may have changed from the row."""
        _copy(self.task.get_backend().get_result(self.id), self)

    async def arefresh(self) -> None:
        """Read what may have changed from the row."""
        _copy(await self.task.get_backend().aget_result(self.id), self)


def result_of(row: models.Task, task: AnyTask, backend: str) -> StoredTaskResult:
    """Return the result of a row, whose task was defined as ``task``."""
    history = row.history or []
    is_running = row.status == models.Task.STATUS_IN_PROCESS
    last_started = row.claimed_at if is_running else row.started_at
    runs = [entry for entry in history if "attempt" in entry]
    result = StoredTaskResult(
        task=as_stored(
            task,
            priority=priorities.shown(row.priority),
            queue_name=row.queue_name,
            run_after=row.execute_after if row.execute_after > row.created_at else None,
        ),
        id=str(row.pk),
        status=_STATUS[row.status],
        enqueued_at=row.created_at,
        started_at=_first_start(runs) or last_started,
        finished_at=row.finished_at,
        last_attempted_at=last_started,
        args=row.arguments.get("args", []),
        kwargs=row.arguments.get("kwargs", {}),
        backend=backend,
        errors=list(_errors(row, runs)),
        worker_ids=_workers(row, runs),
        attempt_count=row.attempts + is_running,
    )
    object.__setattr__(result, "_return_value", row.result)
    return result


def class_path(error_type: str) -> str:
    """Return the path that the framework imports of a class that rows name: they leave ``builtins`` out."""
    return error_type if "." in error_type else f"builtins.{error_type}"


def _first_start(runs: list[Mapping[str, Any]]) -> datetime | None:
    starts = (entry.get("first_started_at") or entry.get("started_at") for entry in runs)
    first = next(filter(None, starts), None)
    return None if first is None else parse_datetime(first)


def _errors(row: models.Task, runs: list[Mapping[str, Any]]) -> Iterator[base.TaskError]:
    """Yield the error of each run; of the last one the row has the whole traceback.

    Runs in a row that ended equally are one entry, with the traceback of the last of them.
    """
    for entry in runs:
        if error_type := entry.get("error_type"):
            is_last = entry is runs[-1] and error_type == row.error_type
            traceback = row.error_traceback if is_last else entry.get("traceback")
            error = base.TaskError(exception_class_path=class_path(error_type), traceback=traceback or "")
            yield from repeat(error, entry.get("count", 1))
    has_last = bool(runs) and runs[-1].get("error_type") == row.error_type
    if row.status == models.Task.STATUS_ERROR and row.error_type and not has_last:
        path = class_path(row.error_type)
        yield base.TaskError(exception_class_path=path, traceback=row.error_traceback or "")


def _workers(row: models.Task, runs: list[Mapping[str, Any]]) -> list[str]:
    workers = [entry["worker"] for entry in runs if entry.get("worker")]
    if row.worker and not runs:  # it completed at once: there is no history
        return [row.worker]
    return workers


def _copy(source: Any, target: StoredTaskResult) -> None:
    for name in _REFRESHED:
        object.__setattr__(target, name, getattr(source, name))
