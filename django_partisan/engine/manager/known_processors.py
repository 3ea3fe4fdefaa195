"""Keep track of the processors that a manager's workers can run.

Only a worker can find out that it cannot run a processor: it holds a task whose processor is not registered
there. From then on the manager itself holds the tasks of that processor. Every ``TRY_SECONDS`` it lets one of
them go to a worker, because workers may have loaded other code since, or may have registered the processor
late.
"""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from django_partisan.sql.claiming import ID, PROCESSOR, TaskRow
from django_partisan.sql.holding import HeldProcessor

TRY_SECONDS: Final = 30.0


class UnknownProcessor:
    """A processor that the workers here have not registered."""

    def __init__(self, try_at: float) -> None:
        self.try_at = try_at
        """Monotonic time from which a task may be sent to a worker as a try."""
        self.is_known_elsewhere = False
        """Whether another manager of the queue can run its tasks."""
        self._may_try = False
        self._trying: int | None = None

    def begin_to_try(self, now: float) -> None:
        """Send the next incoming task to a worker, to find out whether it can run the processor now."""
        self.try_at = now + TRY_SECONDS
        self._may_try = True

    def admits(self, row: TaskRow) -> bool:
        """Return whether a task may go to a worker."""
        if self._may_try:
            self._may_try = False
            self._trying = row[ID]
        return self.is_trying(row)

    def is_trying(self, row: TaskRow) -> bool:
        """Return whether a task is the one that is sent as a try."""
        return row[ID] == self._trying


class KnownProcessors:
    """The processors that this manager can run; at first those ``registered`` in its own process."""

    def __init__(self, registered: Iterable[str]) -> None:
        self.known = set(registered)
        """Names of processors that can run here."""
        self.unknown: dict[str, UnknownProcessor] = {}
        """Processors that cannot run here but have tasks, by name."""
        self.version = 0
        """Incremented when ``known`` changes, and when a worker reports a processor as not registered."""
        self.not_emitted: Counter[str] = Counter()
        """Number of tasks held since the last ``TasksHeld`` event, by processor."""

    @property
    def left_to_others(self) -> list[str]:
        """Processors that only other managers of the queue can run; their tasks are not claimed here."""
        return [name for name, unknown in self.unknown.items() if unknown.is_known_elsewhere]

    def split(self, rows: list[TaskRow]) -> tuple[list[TaskRow], list[TaskRow]]:
        """Return two lists: the tasks that may go to workers, and those that are to be held."""
        parts: tuple[list[TaskRow], list[TaskRow]] = ([], [])
        for row in rows:
            unknown = self.unknown.get(row[PROCESSOR])
            parts[unknown is not None and not unknown.admits(row)].append(row)
        return parts

    def note_unregistered(self, name: str) -> None:
        """Record that a processor is not registered in a worker."""
        if name not in self.unknown:
            self.unknown[name] = UnknownProcessor(time.monotonic() + TRY_SECONDS)
            self.known.discard(name)
            self.version += 1

    def note_registered(self, name: str) -> None:
        """Record that a worker has registered a processor that this process has not."""
        self.note_runs([name])
        if name not in self.known:
            self.known.add(name)
            self.version += 1

    def note_held(self, row: TaskRow) -> None:
        """Count a held task, unless it was sent as a try."""
        if not self.unknown[row[PROCESSOR]].is_trying(row):
            self.not_emitted[row[PROCESSOR]] += 1

    def note_runs(self, names: Iterable[str]) -> None:
        """Record that tasks of these processors ran here."""
        for name in self.unknown.keys() & set(names):
            del self.unknown[name]
            self.known.add(name)
            self.version += 1

    def note_found(self, found: Iterable[HeldProcessor], now: float) -> None:
        """Record which processors had held tasks at ``now``, and which of them other managers can run.

        A processor whose tasks were held before this manager started may be tried at once. A processor that
        has no held tasks and that no other manager can run is forgotten when its next try is due.
        """
        for one in found:
            if one.name in self.known:
                continue
            unknown = self.unknown.setdefault(one.name, UnknownProcessor(now))
            unknown.is_known_elsewhere = one.is_known_elsewhere
            if not one.is_held and not one.is_known_elsewhere and now >= unknown.try_at:
                del self.unknown[one.name]
