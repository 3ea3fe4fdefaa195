"""Describe to the manager the definitions that only a worker has registered.

A manager has the definitions that its own process registered at start. A worker registers more: it imports
the module of a function that no ``tasks`` module names, and tasks import modules themselves. The manager
needs the options of these definitions too: it enforces time limits, decides the outcome of runs whose worker
it killed, and prunes rows.
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
"""The rules of the system checks, which ran before a late definition was registered. Without them, a wrong
value would interrupt every run or keep the manager from pruning."""
_CLASSES: Final = {"retry_on_errors", "never_retry_on"}
_OF_RETRIES: Final = [field.name for field in fields(ErrorsHandleConfig) if field.name not in _CLASSES]


class PlainDefinition(NamedTuple):
    """The parts of a definition that a manager needs, as plain values; error classes stay in the worker.

    The fields have the same names as in ``TaskDefinition``. To add one, add it here, and to ``_RULES`` if
    projects set its value.
    """

    name: str
    queue: str
    priority: int
    propagation: str | None
    keep_finished: float | None
    keep_failed: float | None
    timeout: float | None
    retry: Mapping[str, Any] | None
    """How a run over its time limit is retried: an ``ErrorsHandleConfig`` without its errors; ``None`` if it
    is not."""
    retries_as_queue: bool = False
    may_retry: bool = True

    @classmethod
    def of(cls, definition: TaskDefinition) -> "PlainDefinition":
        """Describe a definition; raises ``ValueError`` for a value that the system checks reject."""
        values = {field: getattr(definition, field) for field in cls._fields}
        for field, rule in _RULES.items():
            if not rule.accepts(values[field]):
                raise ValueError(f"{values['name']}: {field} is {values[field]!r}; expected {rule.expected}.")
        plain = {field: _plain_value(value) for field, value in values.items() if field != "retry"}
        return cls(**plain, retry=_retry(definition.retry))

    def definition(self) -> TaskDefinition:
        """Return a definition with these options, whose code cannot be called."""
        values = self._asdict()
        if self.retry is not None:
            values["retry"] = ErrorsHandleConfig([TaskTimeout], **self.retry)
        return TaskDefinition(
            **values, source=_cannot_call, call=_cannot_call, unique=False, atomic=False, postpone=None
        )


class LateDefinitions:
    """The definitions in this worker that its manager does not have yet."""

    def __init__(self, known: Collection[str]) -> None:
        """Start with the names of the definitions that the manager has registered itself."""
        self._known = frozenset(known)
        self._seen: dict[str, TaskDefinition] = {}
        self._described: dict[str, tuple[Any, ...]] = {}

    def take(self) -> list[tuple[Any, ...]]:
        """Describe the definitions registered since the last call, each as a ``PlainDefinition`` tuple.

        A definition that was replaced is described again if its options differ. A definition with attributes
        that the system checks reject is left out: an earlier description, or else the queue's options, apply.
        """
        late = []
        for name, definition in list(registry.definitions.items()):
            if name in self._known or self._seen.get(name) is definition:
                continue
            self._seen[name] = definition
            try:
                described = tuple(PlainDefinition.of(definition))
            except Exception:  # unusual classes may raise anything; the next run must not fail for it
                continue
            if self._described.get(name) != described:
                self._described[name] = described
                late.append(described)
        return late


def register(described: PlainDefinition) -> None:
    """Register a described definition, unless this process has registered the real one."""
    known = registry.find(described.name)
    if known is None or known.source is _cannot_call:
        registry.add(described.definition())


def _retry(retry: ErrorsHandleConfig | None) -> dict[str, Any] | None:
    if not isinstance(retry, ErrorsHandleConfig) or not retry.covers(TaskTimeout()):
        return None
    return {field: _plain_value(getattr(retry, field)) for field in _OF_RETRIES}


def _plain_value(value: Any) -> Any:
    """Return a value as a type that the pipe accepts, without what an enumeration adds to it."""
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return str.__str__(value) if kind is str else kind(value)
    return value


def _cannot_call(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError("A manager cannot call this task: only workers have its code.")
