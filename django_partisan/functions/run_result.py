"""The result of the task that runs, for signals, contexts and ``backoff``.

A worker has only a part of it. The rest is read from the row when it is used, which is rare; for a coroutine,
which cannot read it, before it runs.
"""

import json
import os
from contextlib import suppress
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, connections
from django.utils import timezone

from django_partisan import models
from django_partisan.functions import priorities
from django_partisan.functions.framework import AnyTask, as_stored, base
from django_partisan.functions.stored_result import EarlierRuns, StoredTaskResult, class_path
from django_partisan.sql.connection import task_database
from django_partisan.worker_name import worker_name

_OF_EARLIER_RUNS: Final = ("errors", "worker_ids", "started_at")
_NONE: Final[list[Any]] = []


class RunTaskResult(StoredTaskResult):
    """A result that is loaded when it is read: Python asks ``__getattr__()`` for what empty slots lack."""

    current_task: Any
    """The ``CurrentTask``."""
    failure: Any
    """The ``ErrorInfo`` of a run that failed."""
    _is_asked: bool = False
    """Whether ``read()`` was called."""

    @classmethod
    def of(cls, task: AnyTask, current: Any) -> "RunTaskResult":
        """Return the result of the run of ``current``, the ``CurrentTask``."""
        made = object.__new__(cls)
        if (task.queue_name, priorities.stored(task.priority)) != (current.queue, current.priority):
            task = as_stored(task, queue_name=current.queue, priority=priorities.shown(current.priority))
        now = timezone.now()
        made._set(
            task=task,
            id=str(current.id),
            status=base.TaskResultStatus.RUNNING,
            last_attempted_at=now,
            finished_at=None,
            backend=task.backend,
            attempt_count=current.attempt,
            _return_value=None,
            current_task=current,
            failure=None,
        )
        if current.attempt == 1:
            made._set_earlier_runs(_NONE, _NONE, now)
        return made

    def ended(self, value: str | None, error: Any) -> "RunTaskResult":
        """Return this result after the run returned ``value``, as JSON text, or failed with ``error``."""
        status = base.TaskResultStatus.SUCCESSFUL if error is None else base.TaskResultStatus.FAILED
        self._set(status=status, finished_at=timezone.now(), failure=error)
        if value is not None:
            self._set(_return_value=json.loads(value))
        if error is not None and self.current_task.attempt == 1:
            self._set_earlier_runs(_NONE, _NONE, self.last_attempted_at)
        return self

    def read(self) -> None:
        """Read, once, what a coroutine cannot: Django refuses its queries. Without an answer it stays unread.

        In a transaction, which the failure has ended, raises ``django.db.Error``.
        """
        if self._is_asked:
            return
        self._set(_is_asked=True)
        connection = connections[task_database()]
        try:
            with suppress(ObjectDoesNotExist):
                self._read()
        except Error:
            if connection.in_atomic_block:
                raise  # else the run would fail later, with an error that hides this one
            connection.close_if_unusable_or_obsolete()

    def __getattr__(self, name: str) -> Any:
        if name in ("args", "kwargs"):
            args, kwargs = self.current_task.arguments
            self._set(args=args, kwargs=kwargs)
        elif name == "enqueued_at" or name in _OF_EARLIER_RUNS:
            self._read()
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, name)

    def _read(self) -> None:
        row = models.Task.objects.using(task_database()).get(pk=int(self.id))
        before = EarlierRuns.before(self.current_task.attempt, row)
        self._set(enqueued_at=row.created_at)
        first_start = before.first_start or self.last_attempted_at
        self._set_earlier_runs(before.errors, before.worker_ids, first_start)

    def _set_earlier_runs(self, errors: list[Any], worker_ids: list[str], started_at: Any) -> None:
        own = [] if self.failure is None else [self._task_error(self.failure)]
        worker_ids = [*worker_ids, worker_name(os.getpid())]
        self._set(errors=[*errors, *own], worker_ids=worker_ids, started_at=started_at)

    @staticmethod
    def _task_error(error: Any) -> base.TaskError:
        return base.TaskError(exception_class_path=class_path(error.type), traceback=error.stack_trace)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)
