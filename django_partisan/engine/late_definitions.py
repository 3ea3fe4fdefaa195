"""Definitions that a worker has and its manager has not: how the worker describes them.

A manager knows what its own process has registered when it starts. A worker registers more: it imports the
module of a function that ``tasks`` modules do not name, and tasks import modules themselves. The manager
needs the options of these definitions too: it enforces time limits, decides about runs whose worker it
killed, and prunes rows.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, Final, NamedTuple, NoReturn

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.config.queue_keys import KEPT
from django_partisan.config.validation import Rule, instance_of
from django_partisan.definitions import TaskDefinition
from django_partisan.exceptions import TaskTimeout
from django_partisan.processor_validation import ATTRIBUTES

_KEPT: Final = Rule(lambda value: value == math.inf or KEPT.accepts(value), f"{KEPT.expected}, or math.inf")
_RULES: Final[Mapping[str, Rule]] = {
    "queue": instance_of(str),
    "priority": ATTRIBUTES["PRIORITY"],
    "propagation": ATTRIBUTES["TRACE_PROPAGATION"],
    "keep_finished": _KEPT,
    "keep_failed": _KEPT,
    "timeout": ATTRIBUTES["TIMEOUT_SECONDS"],
}
"""What the system checks accept, which ran before a late definition was registered; unchecked, a wrong value
would interrupt each run or keep the manager from pruning."""
_CLASSES: Final = {"retry_on_errors", "never_retry_on"}
_OF_RETRIES: Final = [field.name for field in fields(ErrorsHandleConfig) if field.name not in _CLASSES]


class Described(NamedTuple):
    """What a manager needs of a definition, as plain values; the classes of errors stay in the worker.

    The fields are those of a ``TaskDefinition``, so that one more is added here, and to ``_RULES`` if a
    project gives its value.
    """

    name: str
    queue: str
    priority: int
    propagation: str | None
    keep_finished: float | None
    keep_failed: float | None
    timeout: float | None
    retry: Mapping[str, Any] | None
    """How a run over its time limit is retried, if it is: an ``ErrorsHandleConfig`` without its errors."""
    retries_as_queue: bool = False
    may_retry: bool = True

    @classmethod
    def of(cls, definition: TaskDefinition) -> "Described":
        """Describe a definition; raises ``ValueError`` for a value that the system checks refuse."""
        values = {field: getattr(definition, field) for field in cls._fields}
        for field, rule in _RULES.items():
            if not rule.accepts(values[field]):
                raise ValueError(f"{values['name']}: {field} is {values[field]!r}; expected {rule.expected}.")
        plain = {field: _plain(value) for field, value in values.items() if field != "retry"}
        return cls(**plain, retry=_retry(definition.retry))

    def definition(self) -> TaskDefinition:
        """Return a definition with these options, whose code cannot be called."""
        values = self._asdict()
        if self.retry is not None:
            values["retry"] = ErrorsHandleConfig([TaskTimeout], **self.retry)
        return TaskDefinition(
            **values, source=_not_here, call=_not_here, unique=False, atomic=False, postpone=None
        )


class LateDefinitions:
    """The definitions of this worker of which its manager does not know yet."""

    def __init__(self, known: Collection[str]) -> None:
        """Begin with the names of which the manager has the code."""
        self._known = frozenset(known)
        self._seen: dict[str, TaskDefinition] = {}
        self._described: dict[str, tuple[Any, ...]] = {}

    def take(self) -> list[tuple[Any, ...]]:
        """Describe those that were registered since the last call, each as the values of a ``Described``.

        One that was replaced is described again if its options differ. One with attributes that the system
        checks refuse is left out: what its queue says, or what was described before, holds for it.
        """
        late = []
        for name, definition in list(registry.definitions.items()):
            if name in self._known or self._seen.get(name) is definition:
                continue
            self._seen[name] = definition
            try:
                described = tuple(Described.of(definition))
            except Exception:  # also of strange classes: the run that comes next must not fail for it
                continue
            if self._described.get(name) != described:
                self._described[name] = described
                late.append(described)
        return late


def register(described: Described) -> None:
    """Register a described definition, unless this process has the code itself."""
    known = registry.find(described.name)
    if known is None or known.source is _not_here:
        registry.add(described.definition())


def _retry(retry: ErrorsHandleConfig | None) -> dict[str, Any] | None:
    if not isinstance(retry, ErrorsHandleConfig) or not retry.covers(TaskTimeout()):
        return None
    return {field: _plain(getattr(retry, field)) for field in _OF_RETRIES}


def _plain(value: Any) -> Any:
    """Return a value as one of a type that the pipe takes, without the members that enumerations add."""
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return str.__str__(value) if kind is str else kind(value)
    return value


def _not_here(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError("A manager cannot call this task: only workers have its code.")
