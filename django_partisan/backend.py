"""A backend of Django's task framework that stores functions with ``@task`` as tasks of this library.

``TASKS = {"default": {"BACKEND": "django_partisan.backend.PartisanBackend"}}``
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.core.checks import CheckMessage, Error

from django_partisan import enqueueing, models, wrong_calls
from django_partisan.config.problems import OPTIONS_OF_BACKEND, Problem
from django_partisan.enqueueing import Call
from django_partisan.functions import priorities
from django_partisan.functions.definition import register, task_of
from django_partisan.functions.framework import (
    AnyTask,
    BaseTaskBackend,
    TaskResultDoesNotExist,
    normalize_json,
    signals,
)
from django_partisan.functions.options import PartisanTask, task_options
from django_partisan.functions.stored_result import StoredTaskResult, result_of
from django_partisan.sql.connection import task_connection, task_database
from django_partisan.sql.manager_state import run_start

__all__ = ["PartisanBackend", "bulk_enqueue", "task_options"]

_READ_AT_ONCE: Final = 10_000
"""How many rows one query reads; with server-side binding, a statement has at most 65,535 parameters."""


class PartisanBackend(BaseTaskBackend):
    """A backend that enqueues functions in the caller's transaction, for ``start_partisan`` to run."""

    is_partisan_backend = True
    task_class = PartisanTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: AnyTask) -> None:
        """Register the task's function; raise ``InvalidTask`` if this backend cannot run the task."""
        super().validate_task(task)
        register(task)

    def enqueue(self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> StoredTaskResult:
        """Insert a task in the caller's transaction; return its result, or a waiting duplicate's.

        Only functions with the option ``unique`` can have duplicates.
        """
        self.validate_task(task)
        call = _call(task, args, kwargs)
        results: list[StoredTaskResult] = []

        def enqueued(row: models.Task) -> None:
            results.append(result_of(row, task, self.alias))
            signals.task_enqueued.send(type(self), task_result=results[0])

        with wrong_calls.only_synchronous(f"{task.name}.enqueue()", f"await {task.name}.aenqueue(...)"):
            enqueueing.enqueue(call, None, task.run_after, inserted=enqueued)
        return results[0]

    def get_result(self, result_id: str) -> StoredTaskResult:
        """Return the result of a task by its id; raise ``TaskResultDoesNotExist``."""
        try:
            row = models.Task.objects.using(task_database()).get(pk=int(result_id))
        except (TypeError, ValueError, models.Task.DoesNotExist) as error:
            raise TaskResultDoesNotExist(result_id) from error
        task = task_of(row.processor_class)
        if task is None:  # the task of a processor, or of a function that no longer exists
            raise TaskResultDoesNotExist(result_id)
        return result_of(row, task, self.alias, _run_start(row))

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return messages about wrong settings of the backend."""
        found = list(super().check(**kwargs))
        if self.options:
            place = f"TASKS[{self.alias!r}]['OPTIONS']"
            problem = Problem(OPTIONS_OF_BACKEND, place, self.options, "none")
            found.append(Error(str(problem), hint=problem.hint, id=problem.kind.id))
        return found


def bulk_enqueue(
    task: AnyTask, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]
) -> list[StoredTaskResult]:
    """Enqueue a task once for each call, all at once; return the results in the same order.

    ``calls`` are pairs of positional and keyword arguments.
    """
    backend = task.get_backend()
    backend.validate_task(task)
    results: list[StoredTaskResult] = []

    def enqueued(ids: list[int]) -> None:
        rows = _rows(ids)
        results.extend(result_of(rows[task_id], task, backend.alias) for task_id in ids)
        for result in results:
            signals.task_enqueued.send(type(backend), task_result=result)

    enqueueing.enqueue_many([_call(task, *call) for call in calls], None, task.run_after, inserted=enqueued)
    return results


def _run_start(row: models.Task) -> datetime | None:
    """Return when the current run began, if the task's manager has published it."""
    if row.status != models.Task.STATUS_IN_PROCESS or row.claimed_by is None or row.claimed_at is None:
        return None
    return run_start(task_connection(), row.claimed_by, row.pk, row.claimed_at)


def _rows(ids: Sequence[int]) -> dict[int, models.Task]:
    tasks = models.Task.objects.using(task_database())
    rows: dict[int, models.Task] = {}
    for start in range(0, len(ids), _READ_AT_ONCE):
        rows.update(tasks.in_bulk(ids[start : start + _READ_AT_ONCE]))
    return rows


def _call(task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    definition = register(task)
    priority = priorities.stored(task.priority)
    if (definition.queue, definition.priority) != (task.queue_name, priority):
        definition = replace(definition, queue=task.queue_name, priority=priority)
    return Call(definition, tuple(normalize_json(list(args))), normalize_json(dict(kwargs)))
