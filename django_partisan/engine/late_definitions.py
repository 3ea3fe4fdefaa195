"""Definitions that a worker has and its manager has not: how the worker describes them.

A manager knows what its own process has registered when it starts. A worker registers more: it imports the
module of a function that ``tasks`` modules do not name, and tasks import modules themselves. The manager
needs the options of these definitions too: it enforces time limits, decides about runs whose worker it
killed, and prunes rows.
"""

from collections.abc import Collection
from typing import Any, NamedTuple, NoReturn

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.exceptions import TaskTimeout


class Described(NamedTuple):
    """What a manager needs of a definition, as plain values; the classes of errors stay in the worker."""

    name: str
    queue: str
    priority: int
    propagation: str | None
    keep_finished: float | None
    keep_failed: float | None
    timeout: float | None
    retry: tuple[int, float, str] | None
    """Number of retries, pause and its strategy, if a run that is over its time limit is retried."""

    @classmethod
    def of(cls, definition: TaskDefinition) -> "Described":
        """Describe a definition; raises ``TypeError`` or ``ValueError`` for attributes of wrong types."""
        return cls(
            str(definition.name),
            str(definition.queue),
            int(definition.priority),
            None if definition.propagation is None else str(definition.propagation),
            _seconds(definition.keep_finished),
            _seconds(definition.keep_failed),
            _seconds(definition.timeout),
            _retry(definition.retry),
        )

    def definition(self) -> TaskDefinition:
        """Return a definition with these options, whose code cannot be called."""
        retry = None if self.retry is None else ErrorsHandleConfig([TaskTimeout], *self.retry)
        return TaskDefinition(
            name=self.name,
            source=_not_here,
            call=_not_here,
            queue=self.queue,
            priority=self.priority,
            unique=False,
            atomic=False,
            retry=retry,
            postpone=None,
            propagation=self.propagation,
            keep_finished=self.keep_finished,
            keep_failed=self.keep_failed,
            timeout=self.timeout,
        )


class LateDefinitions:
    """The definitions of this worker of which its manager does not know yet."""

    def __init__(self, known: Collection[str]) -> None:
        """Begin with the names that the manager knows."""
        self._known = set(known)

    def take(self) -> list[tuple[Any, ...]]:
        """Describe those that were registered since the last call, each as the values of a ``Described``.

        One with attributes of wrong types, which the system checks refuse, is left out.
        """
        late = []
        for name, definition in list(registry.definitions.items()):
            if name in self._known:
                continue
            self._known.add(name)
            try:
                late.append(tuple(Described.of(definition)))
            except (TypeError, ValueError):
                continue
        return late


def register(described: Described) -> None:
    """Register a described definition, unless this process has the code itself."""
    known = registry.find(described.name)
    if known is None or known.source is _not_here:
        registry.add(described.definition())


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)


def _retry(retry: ErrorsHandleConfig | None) -> tuple[int, float, str] | None:
    if not isinstance(retry, ErrorsHandleConfig) or not retry.covers(TaskTimeout()):
        return None
    return int(retry.retries_count), float(retry.retry_pause), str(retry.retry_pause_strategy)


def _not_here(*args: Any, **kwargs: Any) -> NoReturn:
    raise NotImplementedError("Only workers have the code of this definition.")
