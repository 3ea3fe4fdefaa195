"""How a task is enqueued: what is stored, in whose transaction, who is woken, and what is told.

``BaseTaskProcessor.delay()`` and ``bulk_delay()`` are the doors to this.
"""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from datetime import timezone as datetime_timezone
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_partisan import arguments
from django_partisan.config.queues import check_queue_name
from django_partisan.models import Task
from django_partisan.sql.connection import task_database
from django_partisan.sql.enqueueing import NewTask, insert_task, insert_tasks, wake
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    Enqueueing,
    ErrorInfo,
    TaskDeduplicated,
    TaskEnqueued,
    TaskEnqueueFailed,
    TaskRef,
)

if TYPE_CHECKING:
    from django_partisan.processor import BaseTaskProcessor

PRIORITY_RANGE = range(-(2**31), 2**31)


def enqueue(processor: "BaseTaskProcessor", priority: int | None, execute_after: datetime | None) -> Task:
    """Insert one task, or lock its waiting twin, in the caller's transaction; return the row."""
    name, queue = type(processor).__name__, processor.QUEUE_NAME
    scope = Enqueueing(queue, name)
    with bus.around(scope):
        new = _new_task(processor, priority, execute_after)
        connection = connections[task_database()]
        try:
            task, inserted = insert_task(connection, new)
        except Exception as error:
            bus.emit(TaskEnqueueFailed, queue, name, new.priority, ErrorInfo.of(error))
            raise
        scope.task_id = task.pk
        scope.deduplicated = not inserted
    if connection.in_atomic_block:
        _wake_after_commit(connection, [queue])  # a manager may have gone to sleep since the insert looked
    if bus.wanted(TaskEnqueued if inserted else TaskDeduplicated):
        _after_commit(connection, lambda: _tell_enqueued(task, inserted, new.arguments))
    return task


def enqueue_many(
    processors: "list[BaseTaskProcessor]", priority: int | None, execute_after: datetime | None
) -> list[int]:
    """Insert many tasks in one statement; return their ids, in order, twins' ids for twins."""
    if not processors:
        return []
    kinds = {type(processor) for processor in processors}
    name = kinds.pop().__name__ if len(kinds) == 1 else None
    scope = Enqueueing(processors[0].QUEUE_NAME, name, len(processors))
    with bus.around(scope):
        tasks = []
        for processor in processors:
            # What the subscribers want stored is asked for each task: they see whose turn it is.
            scope.queue, scope.processor = processor.QUEUE_NAME, type(processor).__name__
            tasks.append(_new_task(processor, priority, execute_after))
        places, distinct = _without_twins(tasks)
        connection = connections[task_database()]
        try:
            rows = insert_tasks(connection, distinct)
        except Exception as error:
            bus.emit(TaskEnqueueFailed, scope.queue, name or "", priority, ErrorInfo.of(error))
            raise
        scope.task_ids = [rows[place][0] for place in places]
        scope.deduplicated = not any(inserted for _, inserted in rows)
    _wake_after_commit(connection, {task.queue for task in tasks})
    if bus.wanted(TaskEnqueued) or bus.wanted(TaskDeduplicated):
        told = [
            (rows[place], tasks[index], distinct[place] is tasks[index]) for index, place in enumerate(places)
        ]
        _after_commit(connection, lambda: _tell_all_enqueued(told))
    return list(scope.task_ids)


def _new_task(
    processor: "BaseTaskProcessor", priority: int | None, execute_after: datetime | None
) -> NewTask:
    name, queue = type(processor).__name__, processor.QUEUE_NAME
    check_queue_name(queue)
    if priority is None:
        priority = processor.PRIORITY
    if type(priority) is not int or priority not in PRIORITY_RANGE:
        raise TypeError(f"{name}: priority is {priority!r}; expected an integer of 32 bits.")
    if execute_after is not None:
        execute_after = _aware(name, execute_after)
    args, kwargs = processor.args, processor.kwargs
    text = arguments.encode(name, args, kwargs)
    key = arguments.unique_key(name, args, kwargs, text) if processor.UNIQUE_FOR_PARAMS else None
    headers = bus.headers()
    context = json.dumps(headers) if headers else None
    return NewTask(queue, name, priority, execute_after, text, context, key)


def _wake_after_commit(connection: BaseDatabaseWrapper, queues: Iterable[str]) -> None:
    """Wake sleeping managers once the tasks can be seen; once a transaction for each queue is enough.

    Django makes a new list of what to do on commit when a transaction or a savepoint ends, so an entry
    in the very same list, from this savepoint or one around it, still stands.
    """
    standing: dict[str, tuple[Any, frozenset[str]]] = connection.__dict__.setdefault("_partisan_wakes", {})
    here = frozenset(connection.savepoint_ids)
    asleep = []
    for queue in queues:
        listed, savepoints = standing.get(queue, (None, here))
        if not connection.in_atomic_block or listed is not connection.run_on_commit or not savepoints <= here:
            asleep.append(queue)
    if asleep:
        _after_commit(connection, lambda: wake(connection, asleep))
        standing.update((queue, (connection.run_on_commit, here)) for queue in asleep)


def _after_commit(connection: BaseDatabaseWrapper, action: Callable[[], None]) -> None:
    """Act once the row is there for all to see; never, if it is rolled back."""
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(action, connection.alias, robust=True)
    else:
        action()  # the caller ends transactions by hand, and Django cannot tell when


def _aware(name: str, moment: Any) -> datetime:
    if not isinstance(moment, datetime):
        raise TypeError(f"{name}: execute_after is {moment!r}; expected a datetime.")
    if timezone.is_aware(moment):
        return moment
    if settings.USE_TZ:
        raise ValueError(
            f"{name}: execute_after is {moment!r}, which has no time zone; "
            "use django.utils.timezone.now() or make_aware()."
        )
    return timezone.make_aware(moment)


def _without_twins(tasks: list[NewTask]) -> tuple[list[int], list[NewTask]]:
    """Return for each task its place among the distinct ones, and those."""
    places: list[int] = []
    distinct: list[NewTask] = []
    first_of: dict[Any, int] = {}
    for task in tasks:
        key = task.unique_key
        place = len(distinct) if key is None else first_of.setdefault(key, len(distinct))
        if place == len(distinct):
            distinct.append(task)
        places.append(place)
    return places, distinct


def _tell_enqueued(task: Task, inserted: bool, arguments_text: str) -> None:
    ref = TaskRef(
        task.pk,
        task.processor_class,
        task.queue_name,
        task.priority,
        task.attempts + 1,
        task.retries,
        task.postpones,
    )
    if inserted:
        due_at = task.execute_after
        if timezone.is_naive(due_at):  # USE_TZ = False
            due_at = timezone.make_aware(due_at)
        bus.emit(TaskEnqueued, ref, due_at, not task.ready, arguments_text)
    else:
        bus.emit(TaskDeduplicated, ref)


def _tell_all_enqueued(told: list[tuple[tuple[int, bool], NewTask, bool]]) -> None:
    now = datetime.now(tz=datetime_timezone.utc)
    for (task_id, inserted), new, is_first in told:
        ref = TaskRef(task_id, new.processor, new.queue, new.priority, 1, 0, 0)
        if inserted and is_first:
            due_at = new.execute_after or now
            bus.emit(TaskEnqueued, ref, due_at, due_at > now, new.arguments)
        else:
            bus.emit(TaskDeduplicated, ref)
