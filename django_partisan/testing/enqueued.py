"""Assert which tasks are waiting; the message of a failed assertion lists them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from django.utils import timezone

from django_partisan import arguments, moments, registry
from django_partisan.config.queues import check_queue_name
from django_partisan.models import Task
from django_partisan.sql.connection import task_database

LISTED_AT_MOST: Final = 20


class FunctionTask(Protocol):
    """A task of Django's framework."""

    @property
    def module_path(self) -> str:
        """The path of its function, under which its tasks are stored."""


Processor: TypeAlias = type[Any] | FunctionTask | str


def assert_enqueued(
    processor: Processor | None = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue_name: str | None = None,
    priority: int | None = None,
    at: datetime | None = None,
    count: int | None = None,
) -> list[Task]:
    """Assert that matching tasks are waiting, and return them in the order of enqueueing.

    ``processor`` is a class, a task of Django's framework, or the name of either. ``at`` is compared with
    ``execute_after``. Only the given values are compared. ``count`` is the expected number of tasks; by
    default at least one is expected. Raises an ``AssertionError`` that lists the waiting tasks, and
    ``ProcessorClassNotFound`` or ``UnknownQueue`` for a name that does not exist.
    """
    __tracebackhide__ = True  # so that pytest shows the line of the test
    wanted = _Expectation(processor, args, kwargs, queue_name, priority, at)
    waiting = _waiting()
    found = [task for task in waiting if not any(wanted.differences(task))]
    if len(found) == count or (count is None and found):
        return found
    number = "at least 1 task" if count is None else _counted(count)
    raise AssertionError(f"Expected {number}{wanted}; found {len(found)}.{_listed(wanted, waiting)}")


def assert_not_enqueued(
    processor: Processor | None = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue_name: str | None = None,
    priority: int | None = None,
    at: datetime | None = None,
) -> None:
    """Assert that no matching task is waiting; the arguments are those of ``assert_enqueued()``."""
    __tracebackhide__ = True
    assert_enqueued(
        processor, args=args, kwargs=kwargs, queue_name=queue_name, priority=priority, at=at, count=0
    )


class _Expectation:
    """The values that the caller expects of a task."""

    def __init__(
        self,
        processor: Processor | None,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        queue_name: str | None,
        priority: int | None,
        at: datetime | None,
    ) -> None:
        self.processor = _name_of(processor)
        if queue_name is not None:
            check_queue_name(queue_name)
        # The values as they are stored: a tuple has become a list.
        stored_args, stored_kwargs = arguments.decode(
            arguments.encode("assert_enqueued()", tuple(args or ()), kwargs or {})
        )
        due_at = None if at is None else moments.storable(moments.aware("assert_enqueued()", at))
        self._values: dict[str, Any] = {
            "processor": self.processor,
            "args": None if args is None else stored_args,
            "kwargs": None if kwargs is None else stored_kwargs,
            "queue": queue_name,
            "priority": priority,
            "at": due_at,
        }

    def differences(self, task: Task) -> Iterator[str]:
        """Yield the names of the values that differ."""
        for name, value in _described(task).items():
            wanted = self._values[name]
            if wanted is not None and value != wanted:
                yield name

    def __str__(self) -> str:
        values = [
            f"{name} {_shown(value)}"
            for name, value in self._values.items()
            if value is not None and name != "processor"
        ]
        of = f" of {self.processor}" if self.processor else ""
        return f"{of} with {', '.join(values)}" if values else of


def _name_of(processor: Processor | None) -> str | None:
    if processor is None:
        return None
    if isinstance(processor, str):
        if registry.find(processor) is None:
            raise registry.unknown(processor)
        return processor
    if isinstance(processor, type):
        return registry.definition_of(processor).name
    return processor.module_path


def _waiting() -> list[Task]:
    return list(Task.objects.using(task_database()).waiting().order_by("pk"))


def _described(task: Task) -> dict[str, Any]:
    return {
        "processor": task.processor_class,
        "args": task.arguments.get("args", []),
        "kwargs": task.arguments.get("kwargs", {}),
        "queue": task.queue_name,
        "priority": task.priority,
        "at": moments.storable(moments.aware("assert_enqueued()", task.execute_after)),
    }


def _listed(wanted: _Expectation, waiting: list[Task]) -> str:
    """Return a list of the waiting tasks, one on each line, and the numbers of those no longer waiting."""
    lines = []
    for task in waiting[:LISTED_AT_MOST]:
        values = _described(task)
        name = values.pop("processor")
        shown = ", ".join(f"{key} {_shown(value)}" for key, value in values.items())
        other = ", ".join(wanted.differences(task))
        lines.append(f"\n  {name}: {shown}" + (f" (differs in {other})" if other else ""))
    more = len(waiting) - LISTED_AT_MOST
    if more > 0:
        lines.append(f"\n  and {more} more")
    heading = f" {_counted(len(waiting), 'wait')}:" if waiting else " No task is waiting."
    return heading + "".join(lines) + _ended(wanted)


def _ended(wanted: _Expectation) -> str:
    """Return the numbers, by status, of the processor's tasks that are no longer waiting."""
    tasks = Task.objects.using(task_database()).exclude(status="new")
    if wanted.processor is not None:
        tasks = tasks.filter(processor_class=wanted.processor)
    statuses = Counter(tasks.values_list("status", flat=True))
    if not statuses:
        return ""
    shown = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items()))
    of = f" of {wanted.processor}" if wanted.processor else ""
    return f"\nTasks{of} that are no longer waiting: {shown}."


def _shown(value: Any) -> str:
    return (
        f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S.%f %Z}" if isinstance(value, datetime) else repr(value)
    )


def _counted(number: int, verb: str = "") -> str:
    one = number == 1
    noun = "1 task" if one else f"{number} tasks"
    return f"{noun} {verb}{'s' if one else ''}" if verb else noun
