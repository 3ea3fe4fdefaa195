"""Register in the manager the processors that its workers have registered late, up to a maximum number."""

from collections.abc import Iterable
from typing import Any, Final

from django_partisan.engine import late_definitions
from django_partisan.engine.late_definitions import PlainDefinition
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import ProcessorsIgnored

NAMES_AT_MOST: Final = 10_000
"""More than any project has; it keeps code that creates processors at run time from exhausting memory."""


class LateProcessors:
    """Processors that workers describe; beyond ``limit`` names they are ignored, and one event is emitted."""

    def __init__(self, queue: str, processors: KnownProcessors, limit: int = NAMES_AT_MOST) -> None:
        self._queue = queue
        self._processors = processors
        self._limit = limit
        self._names: set[str] = set()
        self._has_emitted = False

    def register(self, definitions: Iterable[tuple[Any, ...]]) -> None:
        """Register processors in this process; each item holds the fields of a ``PlainDefinition``."""
        for values in definitions:
            described = PlainDefinition(*values)
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
