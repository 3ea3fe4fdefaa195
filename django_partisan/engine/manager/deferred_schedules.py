"""Defer due schedules that this manager cannot enqueue, for example because their task is unknown.

Another manager may be able to, so their rows are left unchanged. This becomes an error only after a minute. A
late tick proves nothing, because there may have been no manager.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.task_imports import Imported

FORGET_SECONDS: Final = 60.0
"""After this time, schedules that were deferred are tried again."""
OVERDUE_SECONDS: Final = 59.9
"""After this time it is an error; less than ``FORGET_SECONDS``, so that the first new try reports it."""


class Deferred(NamedTuple):
    """Information for the next batch about schedules that were deferred."""

    hidden: Collection[str] = ()
    """Schedules that the batch must leave out."""
    overdue: Collection[str] = ()
    """Schedules that this manager could not enqueue a minute ago either."""
    imported: Imported = MappingProxyType({})
    """Tasks whose modules were imported, each with the error if that failed."""


NOTHING: Final = Deferred()


class DeferredSchedules:
    """The schedules that were deferred, and since when, by a monotonic clock."""

    def __init__(self) -> None:
        self.forget_at = NEVER
        self._hidden: set[str] = set()
        self._since: dict[str, float] = {}
        self._imported: dict[str, BaseException | None] = {}
        self._is_stale = False

    def for_next_batch(self, now: float) -> Deferred:
        """Return the information for the next batch."""
        if now >= self.forget_at:
            self._since = {name: since for name, since in self._since.items() if name in self._hidden}
            self._imported.clear()
            self.retry_all()
        self._is_stale = False
        overdue = {name for name, since in self._since.items() if now - since >= OVERDUE_SECONDS}
        return Deferred(sorted(self._hidden), overdue, dict(self._imported))

    def defer(self, names: Iterable[str]) -> None:
        """Defer schedules that a batch could not enqueue, unless it began before ``retry_all()``."""
        now = time.monotonic()
        for name in names:
            self._since.setdefault(name, now)
            if not self._is_stale:
                self._hidden.add(name)
                self.forget_at = min(self.forget_at, now + FORGET_SECONDS)

    def end(self, names: Iterable[str]) -> None:
        """Record that schedules were enqueued."""
        for name in names:
            self._since.pop(name, None)

    def retry_all(self) -> None:
        """Try all schedules again."""
        self._hidden.clear()
        self.forget_at = NEVER
        self._is_stale = True

    def note_imported(self, imported: Mapping[str, BaseException | None]) -> None:
        """Record which modules were imported, and try all schedules again."""
        self._imported.update(imported)
        self.retry_all()
