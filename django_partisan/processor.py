"""``BaseTaskProcessor``, the base class of users' tasks, and ``bulk_delay()``."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from asgiref.sync import sync_to_async

from django_partisan import arguments, enqueueing, registry, wrong_calls
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.config.queues import DEFAULT_QUEUE, queue_value
from django_partisan.definitions import TaskDefinition
from django_partisan.expiry import AS_DEFINED, Expires
from django_partisan.models import Task
from django_partisan.registrable import ProcessorBase
from django_partisan.sql.claiming import (
    ARGUMENTS,
    ATTEMPTS,
    CONTEXT,
    ID,
    POSTPONES,
    PRIORITY,
    RETRIES,
    TaskRow,
)
from django_partisan.telemetry import bus, task_context
from django_partisan.telemetry.events.values import TaskRef

if TYPE_CHECKING:  # at run time, the core imports no logger and no metrics
    from structlog.stdlib import BoundLogger

    from django_partisan.metrics.custom import Measures


class CurrentTask:
    """The running task.

    One is created for every run and rarely used, so each attribute is read from the row on access.
    """

    __slots__ = ("_began_at", "_definition", "_queue", "_row")

    _began_at: float
    """When the run of a function began, in seconds since the epoch; unset until ``run_result.begin()``."""

    def __init__(self, row: TaskRow, definition: TaskDefinition, queue: str) -> None:
        self._row = row
        self._definition = definition
        self._queue = queue

    @property
    def id(self) -> int:
        """The id of the task's row."""
        return self._row[ID]

    @property
    def processor(self) -> str:
        """The registered name of the processor."""
        return self._definition.name

    @property
    def queue(self) -> str:
        """The queue in which the task runs."""
        return self._queue

    @property
    def priority(self) -> int:
        """The priority of the task; tasks with a lower number run first."""
        return self._row[PRIORITY]

    @property
    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the keyword arguments of the task."""
        return arguments.decode(self._row[ARGUMENTS])

    @property
    def attempt(self) -> int:
        """The number of this run, counted from 1."""
        return self._row[ATTEMPTS] + 1

    @property
    def retries(self) -> int:
        """How many earlier runs were retried."""
        return self._row[RETRIES]

    @property
    def postpones(self) -> int:
        """How many earlier runs were postponed."""
        return self._row[POSTPONES]

    @property
    def scheduled_for(self) -> datetime | None:
        """The moment of the schedule's tick that enqueued the task, in UTC; ``None`` if no schedule did."""
        return task_context.scheduled_for(self._row[CONTEXT])

    @property
    def is_last_attempt(self) -> bool:
        """Whether an error in this run, even one on the processor's list, fails the task."""
        retry = self._definition.retry_in(queue_value(self._queue, "DEFAULT_RETRY"))
        return retry is None or self.retries >= retry.retries_count

    def _tool(self, name: str) -> Any:
        """Return the object that telemetry provides for this run under a name: ``log`` or ``metrics``."""
        row, of = self._row, self._definition
        counts = (self.attempt, self.retries, self.postpones)
        task = TaskRef(self.id, of.name, self._queue, row[PRIORITY], *counts)
        return bus.tools[name](task, of)


class BaseTaskProcessor(ProcessorBase):
    """The base class of every processor: subclass it, define ``run()``, and register the class.

    ``MyProcessor(*args, **kwargs).delay()`` enqueues a task; a worker then creates the same object
    from the stored arguments and calls ``run()``.
    """

    PRIORITY: ClassVar[int] = 10
    """The lower the number, the earlier a task runs."""
    UNIQUE_FOR_PARAMS: ClassVar[bool] = True
    """Do not enqueue a task while another with the same arguments is waiting."""
    QUEUE_NAME: ClassVar[str] = DEFAULT_QUEUE
    """The queue of the tasks; ``delay(queue_name=...)`` overrides it."""
    RETRY_ON_ERROR_CONFIG: ClassVar[ErrorsHandleConfig | None] = None
    """Which errors lead to a retry; ``None``: none. If not set, the queue's ``DEFAULT_RETRY`` applies."""
    POSTPONE_CONFIG: ClassVar[PostponeConfig | None] = None
    """How many times a task may be postponed; ``None``: the queue's ``DEFAULT_POSTPONES_COUNT``."""
    ATOMIC: ClassVar[bool] = False
    """Commit what ``run()`` writes and the completion of the task in one transaction: both, or neither."""
    KEEP_RESULT: ClassVar[bool] = False
    """Keep the row of a completed task, with the value that ``run()`` returned in ``Task.result``."""
    KEEP_FINISHED_SECONDS: ClassVar[float | None]
    """Seconds to keep rows of completed tasks; ``None``: forever. If not set, the queue's key applies."""
    KEEP_FAILED_SECONDS: ClassVar[float | None]
    """Seconds to keep rows of failed tasks; ``None``: forever. If not set, the queue's key applies."""
    TIMEOUT_SECONDS: ClassVar[float | None] = None
    """Interrupt a run after this many seconds; ``None``: the queue's limit, ``math.inf``: no limit."""
    EXPIRES_SECONDS: ClassVar[float | None] = None
    """A task that has not started this many seconds after it was due ends without a run; ``None``: never."""
    TRACE_PROPAGATION: ClassVar[str | None] = None
    """How the run's span relates to the enqueuer's: ``link``, ``child`` or ``none``.

    ``None``: the setting ``TRACE_PROPAGATION`` applies.
    """

    args: tuple[Any, ...] = wrong_calls.set_by_init()
    kwargs: dict[str, Any] = wrong_calls.set_by_init()
    _current: CurrentTask | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    @cached_property
    def log(self) -> "BoundLogger":
        """A structlog logger that adds the running task to every line."""
        logger: BoundLogger = self.task._tool("log")
        return logger

    @cached_property
    def metrics(self) -> "Measures":
        """The measures that the class declares in ``MEASURES``, with ``inc()`` and ``observe()``."""
        measures: Measures = self.task._tool("metrics")
        return measures

    @property
    def task(self) -> CurrentTask:
        """The running task; raises ``RuntimeError`` outside of a run."""
        if self._current is None:
            raise RuntimeError(f"{type(self).__name__}.task exists only while a worker runs the task.")
        return self._current

    @abstractmethod
    def run(self) -> Any:
        """Do the work; may be ``async def``. The return value is kept if ``KEEP_RESULT`` is ``True``."""
        raise NotImplementedError(f"{type(self).__name__} has no run().")

    def delay(
        self,
        *,
        priority: int | None = None,
        execute_after: datetime | None = None,
        queue_name: str | None = None,
        expires: Expires | None = AS_DEFINED,
        **unknown: NoReturn,
    ) -> Task:
        """Enqueue a task in the caller's transaction; return its row, or the row of a waiting duplicate.

        ``priority`` overrides ``PRIORITY``, and ``queue_name`` overrides ``QUEUE_NAME``; the task does not
        run before ``execute_after``. ``expires`` overrides ``EXPIRES_SECONDS``: seconds from when the task is
        due, a ``timedelta``, a moment, or ``None`` for never. A task that has not started when it expires
        ends without a run. ``is_duplicate`` of the row is ``True`` if the task was already waiting.
        Raises ``TypeError`` or ``ValueError`` naming the value that cannot be stored, ``UnknownQueue``, and
        ``ProcessorClassNotFound`` if the class is not registered.
        """
        _refuse_unknown(f"{type(self).__name__}.delay()", unknown, _OPTIONS)
        call = _call(self, queue_name, "delay()")
        name = call.definition.name
        with wrong_calls.only_synchronous(f"{name}.delay()", f"await {name}(...).adelay()"):
            return enqueueing.enqueue(call, priority, execute_after, expires)

    async def adelay(
        self,
        *,
        priority: int | None = None,
        execute_after: datetime | None = None,
        queue_name: str | None = None,
        expires: Expires | None = AS_DEFINED,
        **unknown: NoReturn,
    ) -> Task:
        """Enqueue a task from asynchronous code, like ``delay()``."""
        return await sync_to_async(self.delay)(
            priority=priority,
            execute_after=execute_after,
            queue_name=queue_name,
            expires=expires,
            **unknown,
        )

    def delay_on_commit(
        self,
        *,
        priority: int | None = None,
        execute_after: datetime | None = None,
        queue_name: str | None = None,
        expires: Expires | None = AS_DEFINED,
        using: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        """Enqueue a task after the caller's transaction commits, or at once if there is none.

        Takes no lock inside the transaction. The options are those of ``delay()``, and are validated now.
        ``using`` is the database alias of the transaction, by default the tasks' database. If the insert
        fails after the commit, Django logs the error, and ``task.enqueue_failed`` is emitted.
        """
        name = type(self).__name__
        _refuse_unknown(f"{name}.delay_on_commit()", unknown, [*_OPTIONS, "using"])
        call = _call(self, queue_name, "delay_on_commit()")
        with wrong_calls.only_synchronous(f"{name}.delay_on_commit()", f"await {name}(...).adelay()"):
            enqueueing.enqueue_on_commit(call, priority, execute_after, using, expires)


def bulk_delay(
    processors: Iterable[BaseTaskProcessor],
    *,
    priority: int | None = None,
    execute_after: datetime | None = None,
    queue_name: str | None = None,
    expires: Expires | None = AS_DEFINED,
    **unknown: NoReturn,
) -> list[int]:
    """Enqueue many tasks at once; return their ids, in order.

    For a duplicate, the id is that of the waiting task. The options and errors are those of
    ``delay()``; if one task is refused, none is enqueued.
    """
    _refuse_unknown("bulk_delay()", unknown, _OPTIONS)
    if isinstance(processors, ProcessorBase):
        raise wrong_calls.one_processor("bulk_delay()", type(processors).__name__)
    calls = [
        _call(processor, queue_name, "bulk_delay()", place) for place, processor in enumerate(processors)
    ]
    with wrong_calls.only_synchronous("bulk_delay()", "await sync_to_async(bulk_delay)(...)"):
        return enqueueing.enqueue_many(calls, priority, execute_after, expires)


# The options of ``delay()`` and ``bulk_delay()``.
_OPTIONS: Final = [
    name
    for name, one in signature(BaseTaskProcessor.delay).parameters.items()
    if one.kind is one.KEYWORD_ONLY
]


def _refuse_unknown(call: str, unknown: Collection[str], known: Sequence[str]) -> None:
    if unknown:
        raise wrong_calls.unknown_options(call, unknown, known)


def _call(
    processor: BaseTaskProcessor, queue_name: str | None, call: str, place: int | None = None
) -> enqueueing.Call:
    if not isinstance(processor, ProcessorBase):
        raise wrong_calls.not_a_processor(call, processor, place)
    definition = registry.definition_of(type(processor))
    queue = processor.QUEUE_NAME if queue_name is None else queue_name
    priority, unique = processor.PRIORITY, processor.UNIQUE_FOR_PARAMS
    if (queue, priority, unique) != (definition.queue, definition.priority, definition.unique):
        # A call may set the queue, and an instance may override all three.
        definition = replace(definition, queue=queue, priority=priority, unique=unique)
    args, kwargs = processor.args, processor.kwargs
    if type(processor).__init__ is not BaseTaskProcessor.__init__:
        wrong_calls.ensure_repeatable(type(processor), args, kwargs)
    return enqueueing.Call(definition, args, kwargs)
