"""Build the framework's result of a task from the task's row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any, Final, NamedTuple

from django.utils.dateparse import parse_datetime

from django_partisan import models
from django_partisan.functions import priorities
from django_partisan.functions.framework import AnyTask, BaseTaskResult, as_stored, base
from django_partisan.outcomes import DUE_NOW, POSTPONED, REQUEUED, RETRIED

_STATUS: Final = {
    models.Task.STATUS_NEW: base.TaskResultStatus.READY,
    models.Task.STATUS_IN_PROCESS: base.TaskResultStatus.RUNNING,
    models.Task.STATUS_ERROR: base.TaskResultStatus.FAILED,
    models.Task.STATUS_FINISHED: base.TaskResultStatus.SUCCESSFUL,
}
_SET_A_TIME: Final = {POSTPONED, RETRIED, REQUEUED, DUE_NOW}
"""The outcomes in a history after which ``execute_after`` is no longer the time given by the call."""
_REFRESHED: Final = ("attempt_count", *base.TASK_REFRESH_ATTRS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTaskResult(BaseTaskResult):  # type: ignore[misc, type-arg] # in the stubs
    """A task result that counts every run, even if the row's history no longer has the workers of some."""

    attempt_count: int = 0

    @property
    def attempts(self) -> int:
        """The number of runs that have started."""
        return self.attempt_count

    def refresh(self) -> None:
        """Reload the attributes that may have changed from the row."""
        _copy(self.task.get_backend().get_result(self.id), self)

    async def arefresh(self) -> None:
        """Reload the attributes that may have changed from the row."""
        _copy(await self.task.get_backend().aget_result(self.id), self)


class EarlierRuns(NamedTuple):
    """The earlier runs of a task, as far as its history has them."""

    errors: list[base.TaskError]
    worker_ids: list[str]
    first_start: datetime | None

    @classmethod
    def before(cls, attempt: int, row: models.Task) -> "EarlierRuns":
        """Return the runs before ``attempt``, whose own entry may already be in the history."""
        runs = list(_runs_before(attempt, row.history or []))
        return cls(list(_errors_of(runs)), _workers_of(runs), _first_start(runs))


def result_of(
    row: models.Task, task: AnyTask, backend: str, run_start: datetime | None = None
) -> StoredTaskResult:
    """Return the result for a row of ``task``.

    ``run_start`` is when the run under way started; if it is ``None``, the time of the claim is used.
    """
    history = row.history or []
    is_running = row.status == models.Task.STATUS_IN_PROCESS
    last_started = (run_start or row.claimed_at) if is_running else row.started_at
    runs = [entry for entry in history if "attempt" in entry]
    result = StoredTaskResult(
        task=as_stored(
            task,
            backend=backend,
            priority=priorities.shown(row.priority),
            queue_name=row.queue_name,
            run_after=_run_after(row, history),
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


def _run_after(row: models.Task, history: list[Mapping[str, Any]]) -> datetime | None:
    """Return the time given by the call; ``None`` if there was none, or if a run or a person changed it."""
    is_set_anew = any(entry.get("outcome") in _SET_A_TIME for entry in history)
    return row.execute_after if row.execute_after > row.created_at and not is_set_anew else None


def class_path(error_type: str) -> str:
    """Return the import path of an exception class named in a row; rows leave out ``builtins``."""
    return error_type if "." in error_type else f"builtins.{error_type}"


def _first_start(runs: list[Mapping[str, Any]]) -> datetime | None:
    starts = (entry.get("first_started_at") or entry.get("started_at") for entry in runs)
    first = next(filter(None, starts), None)
    return None if first is None else parse_datetime(first)


def _runs_before(attempt: int, history: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of runs before ``attempt``; an entry of several runs counts only the earlier ones."""
    for entry in history:
        if "attempt" in entry:
            others = max(0, entry["attempt"] - attempt + 1)
            earlier = entry.get("count", 1) - others
            if earlier > 0:
                yield {**entry, "count": earlier}


def _errors(row: models.Task, runs: list[Mapping[str, Any]]) -> Iterator[base.TaskError]:
    """Yield the error of each run; the last one has the full traceback, which is in the row."""
    has_last = bool(runs) and runs[-1].get("error_type") == row.error_type
    if has_last:
        runs = [*runs[:-1], {**runs[-1], "traceback": row.error_traceback}]
    yield from _errors_of(runs)
    if row.status == models.Task.STATUS_ERROR and row.error_type and not has_last:
        yield _error(row.error_type, row.error_traceback)


def _errors_of(runs: list[Mapping[str, Any]]) -> Iterator[base.TaskError]:
    """Yield the error of each run of a history.

    Consecutive runs that ended alike share one entry, which has the traceback of the last of them.
    """
    for entry in runs:
        if error_type := entry.get("error_type"):
            yield from repeat(_error(error_type, entry.get("traceback")), entry.get("count", 1))


def _error(error_type: str, traceback: str | None) -> base.TaskError:
    return base.TaskError(exception_class_path=class_path(error_type), traceback=traceback or "")


def _workers(row: models.Task, runs: list[Mapping[str, Any]]) -> list[str]:
    if row.worker and not runs:  # it completed in its first run, which leaves no history
        return [row.worker]
    return _workers_of(runs)


def _workers_of(runs: list[Mapping[str, Any]]) -> list[str]:
    return [entry["worker"] for entry in runs if entry.get("worker")]


def _copy(source: Any, target: StoredTaskResult) -> None:
    for name in _REFRESHED:
        object.__setattr__(target, name, getattr(source, name))
