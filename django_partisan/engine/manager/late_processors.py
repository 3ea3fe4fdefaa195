"""The options of processors that workers register late, up to a limit of names."""

from collections.abc import Iterable
from typing import Any, Final

from django_partisan.engine import late_definitions
from django_partisan.engine.late_definitions import Described
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import ProcessorsIgnored

NAMES_AT_MOST: Final = 10_000
"""More than any project has; code that makes processors while it runs must not fill the manager's memory."""


class LateProcessors:
    """Register what workers describe; beyond ``limit`` names ignore further ones, and emit that once."""

    def __init__(self, queue: str, processors: KnownProcessors, limit: int = NAMES_AT_MOST) -> None:
        self._queue = queue
        self._processors = processors
        self._limit = limit
        self._names: set[str] = set()
        self._has_emitted = False

    def take_in(self, definitions: Iterable[tuple[Any, ...]]) -> None:
        """Register what this process has not, each the values of a ``Described``."""
        for values in definitions:
            described = Described(*values)
            if described.name not in self._names and len(self._names) >= self._limit:
                self._emit()
                continue
            self._names.add(described.name)
            late_definitions.register(described)
            self._processors.note_registered(described.name)

    def _emit(self) -> None:
        if not self._has_emitted:
            self._has_emitted = True
            bus.emit(ProcessorsIgnored, self._queue, self._limit)
