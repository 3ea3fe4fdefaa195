"""Enqueue tasks: insert their rows, wake sleeping managers, and emit events after the commit.

``BaseTaskProcessor.delay()``, ``delay_on_commit()`` and ``bulk_delay()`` call this module.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from datetime import datetime
from datetime import timezone as datetime_timezone
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import arguments, immediate, moments
from django_partisan.config.immediate import mode as immediate_mode
from django_partisan.config.queues import check_queue_name
from django_partisan.config.validation import PRIORITIES, PRIORITY
from django_partisan.definitions import TaskDefinition
from django_partisan.expiry import AS_DEFINED, Expires, expiry_of
from django_partisan.models import Task
from django_partisan.sql.bulk_enqueueing import insert_tasks
from django_partisan.sql.connection import task_connection
from django_partisan.sql.enqueueing import NewTask, insert_task, wake
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import TasksEnqueued
from django_partisan.telemetry.events.scopes import Enqueueing
from django_partisan.telemetry.events.tasks import TaskDeduplicated, TaskEnqueued, TaskEnqueueFailed
from django_partisan.telemetry.events.values import ErrorInfo, TaskRef


class Call(NamedTuple):
    """The definition of the task to enqueue, and its arguments."""

    definition: TaskDefinition
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def enqueue(
    call: Call,
    priority: int | None,
    execute_after: datetime | None,
    expires: Expires | None = AS_DEFINED,
    *,
    inserted: Callable[[Task], object] | None = None,
) -> Task:
    """Insert one task, or lock its waiting duplicate, in the caller's transaction; return the row.

    ``inserted`` is called with the row before immediate mode can run the task in this thread.
    """
    make = partial(_new_task, call, priority, execute_after, expires)
    return _enqueue(call.definition, lambda: make(_context()), inserted)


def enqueue_on_commit(
    call: Call,
    priority: int | None,
    execute_after: datetime | None,
    using: str | None,
    expires: Expires | None = AS_DEFINED,
) -> None:
    """Insert one task after the caller's transaction on ``using``, by default the tasks' database, commits.

    Options and arguments are validated and copied now. The task is stored with the context of this call. If
    the insert fails after the commit of a transaction, Django logs the error and runs the other callbacks.
    """
    tasks = task_connection()
    new = _new_task(call, priority, execute_after, expires, None)

    def enqueue_now() -> None:
        _enqueue(call.definition, lambda: new._replace(context=_context()))

    context = copy_context()
    alias = using or tasks.alias
    # Otherwise an error would make Django skip the later callbacks, such as those of other tasks.
    is_robust = connections[alias].in_atomic_block
    transaction.on_commit(lambda: context.run(enqueue_now), alias, robust=is_robust)


def _enqueue(
    definition: TaskDefinition,
    make: Callable[[], NewTask],
    inserted: Callable[[Task], object] | None = None,
) -> Task:
    name, queue = definition.name, definition.queue
    connection = task_connection()
    scope = Enqueueing(queue, name)
    with bus.around(scope):
        new = make()
        try:
            task, is_new = insert_task(connection, new)
        except Exception as error:
            bus.emit(TaskEnqueueFailed, queue, name, new.priority, ErrorInfo.of(error))
            raise
        scope.task_id = task.pk
        scope.deduplicated = not is_new
    if connection.in_atomic_block:
        wake_after_commit(connection, [queue])  # a manager may fall asleep between the insert and the commit
    if bus.wanted(TaskEnqueued if is_new else TaskDeduplicated):
        number = task.attempts + 1
        ref = TaskRef(task.pk, name, task.queue_name, task.priority, number, task.retries, task.postpones)
        due_at = moments.aware(name, task.execute_after)  # naive if USE_TZ = False
        after_commit(connection, lambda: _emit(is_new, ref, due_at, not task.ready, new.arguments))
    if inserted is not None:
        inserted(task)
    if mode := immediate_mode():
        immediate.run_after_commit(connection, [task.pk], mode)
    return task


def enqueue_many(
    calls: Sequence[Call],
    priority: int | None,
    execute_after: datetime | None,
    expires: Expires | None = AS_DEFINED,
    *,
    inserted: Callable[[list[int]], object] | None = None,
) -> list[int]:
    """Insert many tasks at once; return their ids in order, with the waiting task's id for a duplicate.

    ``inserted`` is called with the ids before immediate mode can run the tasks in this thread.
    """
    if not calls:
        return []
    connection = task_connection()
    names = {call.definition.name for call in calls}
    name = names.pop() if len(names) == 1 else None
    scope = Enqueueing(calls[0].definition.queue, name, len(calls))
    with bus.around(scope):
        tasks = []
        for call in calls:
            # For each task the subscribers return headers to store: the scope shows them which task it is.
            scope.queue, scope.processor = call.definition.queue, call.definition.name
            tasks.append(_new_task(call, priority, execute_after, expires, _context()))
        places, distinct = _distinct(tasks)
        try:
            rows = insert_tasks(connection, distinct)
        except Exception as error:
            bus.emit(TaskEnqueueFailed, scope.queue, name or "", priority, ErrorInfo.of(error))
            raise
        scope.task_ids = [rows[place][0] for place in places]
        scope.deduplicated = not any(is_new for _, is_new in rows)
    wake_after_commit(connection, {task.queue for task in tasks})

    def emit_all() -> None:
        now = datetime.now(tz=datetime_timezone.utc)
        queues = {task.queue for task in tasks}
        number = sum([is_new for _, is_new in rows])
        queue = queues.pop() if len(queues) == 1 else None
        bus.emit(TasksEnqueued, queue, name, number, len(tasks) - number)
        if not any(map(bus.wanted_in_bulk, (TaskEnqueued, TaskDeduplicated))):
            return
        for place, new in zip(places, tasks, strict=True):
            task_id, is_inserted = rows[place]
            ref = TaskRef(task_id, new.processor, new.queue, new.priority, 1, 0, 0)
            due_at = new.execute_after or now
            is_new = is_inserted and new is distinct[place]
            _emit(is_new, ref, due_at, due_at > now, new.arguments, in_bulk=True)

    if any(map(bus.wanted, (TaskEnqueued, TaskDeduplicated, TasksEnqueued))):
        after_commit(connection, emit_all)
    if inserted is not None:
        inserted(scope.task_ids)
    if mode := immediate_mode():
        immediate.run_after_commit(connection, scope.task_ids, mode)
    return list(scope.task_ids)


def _distinct(tasks: Sequence[NewTask]) -> tuple[list[int], list[NewTask]]:
    """Return each task's place among the tasks to insert, and these: the first task of each unique key."""
    places: list[int] = []
    distinct: list[NewTask] = []
    known: dict[UUID, int] = {}
    for task in tasks:
        key, place = task.unique_key, len(distinct)
        if key is not None:
            place = known.setdefault(key, place)
        if place == len(distinct):
            distinct.append(task)
        places.append(place)
    return places, distinct


def _new_task(
    call: Call,
    priority: int | None,
    execute_after: datetime | None,
    expires: Expires | None,
    context: str | None,
) -> NewTask:
    definition, args, kwargs = call
    name, queue = definition.name, definition.queue
    check_queue_name(queue)
    if priority is None:
        priority = definition.priority
    if type(priority) is not int or priority not in PRIORITIES:  # as ``PRIORITY`` checks, without the call
        raise TypeError(f"{name}: priority is {priority!r}; expected {PRIORITY.expected}.")
    if execute_after is not None:
        execute_after = moments.storable(moments.aware(name, execute_after))
    expiry = expiry_of(name, expires, definition.expires)
    text = arguments.encode(name, args, kwargs)
    key = arguments.unique_key(name, args, kwargs, text) if definition.unique else None
    return NewTask(queue, name, priority, execute_after, text, context, key, expiry)


def _context() -> str | None:
    """Return the headers that the subscribers store with a task, as JSON text."""
    headers = bus.headers()
    return json.dumps(headers) if headers else None


def wake_after_commit(connection: BaseDatabaseWrapper, queues: Iterable[str]) -> None:
    """Wake sleeping managers when the tasks are committed, once per queue and transaction.

    Django creates a new list of on-commit callbacks when a transaction or a savepoint ends. So a callback
    that this savepoint, or one around it, has added to the very same list is still pending.
    """
    standing: dict[str, tuple[Any, frozenset[str]]] = connection.__dict__.setdefault("_partisan_wakes", {})
    here = frozenset(connection.savepoint_ids)
    asleep = []
    for queue in queues:
        listed, savepoints = standing.get(queue, (None, here))
        if not connection.in_atomic_block or listed is not connection.run_on_commit or not savepoints <= here:
            asleep.append(queue)
    if not asleep:
        return
    after_commit(connection, lambda: wake(connection, asleep))
    # Outside a transaction the callback has already run, and the next transaction uses the same list.
    if connection.in_atomic_block:
        standing.update((queue, (connection.run_on_commit, here)) for queue in asleep)


def after_commit(connection: BaseDatabaseWrapper, action: Callable[[], None]) -> None:
    """Call ``action`` after the transaction commits; do not call it if the transaction is rolled back."""
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(action, connection.alias, robust=True)
    else:
        action()  # autocommit is off: the caller commits, and Django does not notice


def _emit(
    is_new: bool,
    task: TaskRef,
    due_at: datetime,
    scheduled: bool,
    arguments_text: str,
    in_bulk: bool = False,
) -> None:
    if is_new:
        bus.emit(TaskEnqueued, task, due_at, scheduled, arguments_text, in_bulk)
    else:
        bus.emit(TaskDeduplicated, task, in_bulk)
