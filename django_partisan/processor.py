"""The class that users write their tasks with."""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from asgiref.sync import sync_to_async

from django_partisan import enqueueing
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.models import Task
from django_partisan.sql.claiming import ATTEMPTS, ID, POSTPONES, PRIORITY, PROCESSOR, RETRIES, TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TaskRef


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
        return bus.tool("log", self._named(), type(self))

    @cached_property
    def metrics(self) -> Any:
        """The measures that the class declares in ``MEASURES``, with ``inc()`` and ``observe()``."""
        return bus.tool("metrics", self._named(), type(self))

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
        raise NotImplementedError(f"{type(self).__name__} has no run().")  # fails the task, not the class

    def delay(self, *, priority: int | None = None, execute_after: datetime | None = None) -> Task:
        """Enqueue a task and return its row, or the row of the twin that waits already.

        The task is in the caller's transaction. ``priority`` wins over ``PRIORITY``; the task does
        not run before ``execute_after``. Raises ``TypeError`` or ``ValueError`` naming the value
        that cannot be stored, and ``UnknownQueue``.
        """
        return enqueueing.enqueue(self, priority, execute_after)

    async def adelay(self, *, priority: int | None = None, execute_after: datetime | None = None) -> Task:
        """Enqueue a task from asynchronous code; as ``delay()``."""
        return await sync_to_async(self.delay)(priority=priority, execute_after=execute_after)


def bulk_delay(
    processors: Iterable[BaseTaskProcessor],
    *,
    priority: int | None = None,
    execute_after: datetime | None = None,
) -> list[int]:
    """Enqueue many tasks in one statement; return their ids, in order, twins' ids for twins.

    The options and errors are those of ``delay()``; if one task is refused, none is enqueued.
    """
    return enqueueing.enqueue_many(list(processors), priority, execute_after)
