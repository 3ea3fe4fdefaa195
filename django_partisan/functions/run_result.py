"""The result of the running task, for signals, contexts and ``backoff``.

Results are created often and rarely used, so each attribute is computed when it is first read. Attributes
that the worker does not have are loaded from the row at that time; for a coroutine, which cannot query the
database, they are loaded before it runs.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, connections

from django_partisan import models
from django_partisan.functions import priorities
from django_partisan.functions.framework import AnyTask, as_stored, base
from django_partisan.functions.stored_result import EarlierRuns, StoredTaskResult, class_path
from django_partisan.sql.connection import task_database
from django_partisan.worker_name import worker_name

_OF_EARLIER_RUNS: Final = ("errors", "worker_ids", "started_at")
_set: Final = object.__setattr__


class End(NamedTuple):
    """The end of a run: its Unix timestamp, the returned value as JSON text, and the ``ErrorInfo`` if any."""

    at: float
    value: str | None
    error: Any


def begin(current: Any) -> None:
    """Record that the run of ``current``, a ``CurrentTask``, starts now; results are mostly created later."""
    current._began_at = time.time()


class RunTaskResult(StoredTaskResult):
    """A task result with lazy attributes: Python calls ``__getattr__()`` for a slot that is still empty."""

    current_task: Any
    """The ``CurrentTask`` of the run."""
    end: End | None
    _is_asked: bool = False
    """Whether ``read()`` was called."""

    @classmethod
    def of(cls, task: AnyTask, current: Any) -> "RunTaskResult":
        """Return the result of the run of ``current``, a ``CurrentTask``."""
        if not hasattr(current, "_began_at"):
            begin(current)  # the run ended before the function was called
        made = object.__new__(cls)
        if (task.queue_name, priorities.stored(task.priority)) != (current.queue, current.priority):
            task = as_stored(task, queue_name=current.queue, priority=priorities.shown(current.priority))
        _set(made, "task", task)
        _set(made, "status", base.TaskResultStatus.RUNNING)
        vars(made).update(current_task=current, end=None)
        return made

    def ended(self, value: str | None, error: Any) -> "RunTaskResult":
        """Record that the run returned ``value`` (JSON text) or failed with ``error``; return this result."""
        _set(self, "status", _SUCCESSFUL if error is None else _FAILED)
        vars(self).update(end=End(time.time(), value, error))
        return self

    def read(self) -> None:
        """Load the row once, before it is needed, because Django refuses queries in a coroutine.

        If the query fails, the attributes stay unloaded; within a transaction, which the failure has broken,
        ``django.db.Error`` is raised.
        """
        if self._is_asked:
            return
        _set(self, "_is_asked", True)
        connection = connections[task_database()]
        try:
            with suppress(ObjectDoesNotExist):
                self._read()
        except Error:
            if connection.in_atomic_block:
                raise  # otherwise the run would fail later, with an error that hides this one
            connection.close_if_unusable_or_obsolete()

    def __getattr__(self, name: str) -> Any:
        if name in _OF_THIS_RUN:
            _set(self, name, _OF_THIS_RUN[name](self))
        elif name in ("args", "kwargs"):
            args, kwargs = self.current_task.arguments
            _set(self, "args", args)
            _set(self, "kwargs", kwargs)
        elif name in _OF_EARLIER_RUNS and self.current_task.attempt == 1:
            self._set_runs(EarlierRuns([], [], None))
        elif name == "enqueued_at" or name in _OF_EARLIER_RUNS:
            self._read()
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, name)

    def _read(self) -> None:
        row = models.Task.objects.using(task_database()).get(pk=int(self.id))
        _set(self, "enqueued_at", row.created_at)
        self._set_runs(EarlierRuns.before(self.current_task.attempt, row))

    def _set_runs(self, earlier: EarlierRuns) -> None:
        error = None if self.end is None else self.end.error
        own = [] if error is None else [_task_error(error)]
        _set(self, "errors", [*earlier.errors, *own])
        _set(self, "worker_ids", [*earlier.worker_ids, worker_name(os.getpid())])
        _set(self, "started_at", earlier.first_start or self.last_attempted_at)


def _task_error(error: Any) -> base.TaskError:
    return base.TaskError(exception_class_path=class_path(error.type), traceback=error.stack_trace)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=timezone.utc if settings.USE_TZ else None)


def _return_value(result: RunTaskResult) -> Any:
    if result.end is None or result.end.value is None:
        return None
    return json.loads(result.end.value)


_SUCCESSFUL: Final = base.TaskResultStatus.SUCCESSFUL
_FAILED: Final = base.TaskResultStatus.FAILED
_OF_THIS_RUN: Final[Mapping[str, Callable[[RunTaskResult], Any]]] = {
    "id": lambda result: str(result.current_task.id),
    "backend": lambda result: result.task.backend,
    "attempt_count": lambda result: result.current_task.attempt,
    "last_attempted_at": lambda result: _moment(result.current_task._began_at),
    "finished_at": lambda result: None if result.end is None else _moment(result.end.at),
    "_return_value": _return_value,
}
"""How to compute each attribute that does not need the row."""
