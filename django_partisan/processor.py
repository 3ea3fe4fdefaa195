"""The class that users write their tasks with, and how a task is enqueued."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from datetime import timezone as datetime_timezone
from functools import cached_property
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_partisan import arguments, events
from django_partisan.conf import DEFAULT_QUEUE, check_queue_name
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.facts import (
    Enqueueing,
    ErrorInfo,
    TaskDeduplicated,
    TaskEnqueued,
    TaskEnqueueFailed,
    TaskRef,
)
from django_partisan.models import Task
from django_partisan.sql.claiming import ATTEMPTS, ID, POSTPONES, PRIORITY, PROCESSOR, RETRIES, TaskRow
from django_partisan.sql.connection import task_database
from django_partisan.sql.enqueueing import NewTask, insert_task, insert_tasks, wake

PRIORITY_RANGE = range(-(2**31), 2**31)


class CurrentTask:
    """The task that ``run()`` runs for: ``id``, ``attempt`` (from 1), ``retries``, ``postpones``."""

    def __init__(self, row: TaskRow, errors: ErrorsHandleConfig | None) -> None:
        self.id = row[ID]
        self.attempt = row[ATTEMPTS] + 1
        self.retries = row[RETRIES]
        self.postpones = row[POSTPONES]
        self.is_last_attempt = errors is None or row[RETRIES] >= errors.retries_count
        """True if an error of this run, even one on the processor's list, fails the task for good."""


class BaseTaskProcessor:
    """Base of every processor: subclass it, write ``run()``, and register the class.

    ``MyProcessor(*args, **kwargs).delay()`` enqueues a task; a worker then makes the same object
    from the stored arguments and calls ``run()``.
    """

    PRIORITY: ClassVar[int] = 10
    """The lower the number, the earlier a task runs."""
    UNIQUE_FOR_PARAMS: ClassVar[bool] = True
    """Do not enqueue a task while one with the same arguments waits."""
    QUEUE_NAME: ClassVar[str] = DEFAULT_QUEUE
    RETRY_ON_ERROR_CONFIG: ClassVar[ErrorsHandleConfig | None] = None
    POSTPONE_CONFIG: ClassVar[PostponeConfig | None] = None
    ATOMIC: ClassVar[bool] = False
    """Run in one transaction together with the task's own completion: both are kept, or neither."""
    TRACE_PROPAGATION: ClassVar[str | None] = None
    """``link``, ``child`` or ``none``: how the run's span relates to the enqueuer's, if not by setting."""

    _row: TaskRow | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    @cached_property
    def log(self) -> Any:
        """A structlog logger that names the running task in every line."""
        return events.tool("log", self._named(), type(self))

    @cached_property
    def metrics(self) -> Any:
        """The measures that the class declares in ``MEASURES``, with ``inc()`` and ``observe()``."""
        return events.tool("metrics", self._named(), type(self))

    @property
    def task(self) -> CurrentTask:
        """The task that runs; raises ``RuntimeError`` outside of a run."""
        if self._row is None:
            raise RuntimeError(f"{type(self).__name__}.task exists only while a worker runs the task.")
        return CurrentTask(self._row, self.RETRY_ON_ERROR_CONFIG)

    def _named(self) -> TaskRef:
        task = self.task
        row = self._row
        assert row is not None
        return TaskRef(
            task.id,
            row[PROCESSOR],
            self.QUEUE_NAME,
            row[PRIORITY],
            task.attempt,
            task.retries,
            task.postpones,
        )

    def run(self) -> Any:
        """Do the work; what it returns is not kept."""
        raise NotImplementedError(f"{type(self).__name__} has no run().")

    def delay(self, *, priority: int | None = None, execute_after: datetime | None = None) -> Task:
        """Enqueue a task and return its row, or the row of the twin that waits already.

        The task is in the caller's transaction. ``priority`` wins over ``PRIORITY``; the task does
        not run before ``execute_after``. Raises ``TypeError`` or ``ValueError`` naming the value
        that cannot be stored, and ``UnknownQueue``.
        """
        cls = type(self)
        name, queue = cls.__name__, cls.QUEUE_NAME
        scope = Enqueueing(queue, name)
        with events.around(scope):
            new = self._new_task(priority, execute_after)
            connection = connections[task_database()]
            try:
                task, inserted = insert_task(connection, new)
            except Exception as error:
                events.tell(TaskEnqueueFailed, queue, name, new.priority, ErrorInfo.of(error))
                raise
            scope.task_id = task.pk
            scope.deduplicated = not inserted
        if connection.in_atomic_block:
            # A manager may have gone to sleep since the insert looked for one.
            _after_commit(connection, lambda: wake(connection, [queue]))
        _after_commit(connection, lambda: _tell_enqueued(task, inserted, new.arguments))
        return task

    async def adelay(self, *, priority: int | None = None, execute_after: datetime | None = None) -> Task:
        """Enqueue a task from asynchronous code; as ``delay()``."""
        return await sync_to_async(self.delay)(priority=priority, execute_after=execute_after)

    def _new_task(self, priority: int | None, execute_after: datetime | None) -> NewTask:
        cls = type(self)
        name, queue = cls.__name__, cls.QUEUE_NAME
        check_queue_name(queue)
        if priority is None:
            priority = cls.PRIORITY
        if type(priority) is not int or priority not in PRIORITY_RANGE:
            raise TypeError(f"{name}: priority is {priority!r}; expected an integer of 32 bits.")
        if execute_after is not None:
            execute_after = _aware(name, execute_after)
        text = arguments.encode(name, self.args, self.kwargs)
        key = arguments.unique_key(name, self.args, self.kwargs, text) if cls.UNIQUE_FOR_PARAMS else None
        headers = events.headers()
        return NewTask(
            queue, name, priority, execute_after, text, json.dumps(headers) if headers else None, key
        )


def bulk_delay(
    processors: Iterable[BaseTaskProcessor],
    *,
    priority: int | None = None,
    execute_after: datetime | None = None,
) -> list[int]:
    """Enqueue many tasks in one statement; return their ids, in order, twins' ids for twins.

    The options and errors are those of ``delay()``; if one task is refused, none is enqueued.
    """
    processors = list(processors)
    if not processors:
        return []
    kinds = {type(processor) for processor in processors}
    name = kinds.pop().__name__ if len(kinds) == 1 else None
    scope = Enqueueing(processors[0].QUEUE_NAME, name, len(processors))
    with events.around(scope):
        tasks = []
        for processor in processors:
            # What the subscribers want stored is asked for each task: they see whose turn it is.
            scope.queue, scope.processor = processor.QUEUE_NAME, type(processor).__name__
            tasks.append(processor._new_task(priority, execute_after))
        places, distinct = _without_twins(tasks)
        connection = connections[task_database()]
        try:
            rows = insert_tasks(connection, distinct)
        except Exception as error:
            events.tell(TaskEnqueueFailed, scope.queue, name or "", priority, ErrorInfo.of(error))
            raise
        scope.task_ids = [rows[place][0] for place in places]
        scope.deduplicated = not any(inserted for _, inserted in rows)
    queues = {task.queue for task in tasks}
    _after_commit(connection, lambda: wake(connection, queues))
    if events.wanted(TaskEnqueued) or events.wanted(TaskDeduplicated):
        told = [
            (rows[place], tasks[index], distinct[place] is tasks[index]) for index, place in enumerate(places)
        ]
        _after_commit(connection, lambda: _tell_all_enqueued(told))
    return list(scope.task_ids)


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
    kind = TaskEnqueued if inserted else TaskDeduplicated
    if not events.wanted(kind):
        return
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
        events.tell(TaskEnqueued, ref, due_at, not task.ready, arguments_text)
    else:
        events.tell(TaskDeduplicated, ref)


def _tell_all_enqueued(told: list[tuple[tuple[int, bool], NewTask, bool]]) -> None:
    now = datetime.now(tz=datetime_timezone.utc)
    for (task_id, inserted), new, is_first in told:
        ref = TaskRef(task_id, new.processor, new.queue, new.priority, 1, 0, 0)
        if inserted and is_first:
            due_at = new.execute_after or now
            events.tell(TaskEnqueued, ref, due_at, due_at > now, new.arguments)
        else:
            events.tell(TaskDeduplicated, ref)
