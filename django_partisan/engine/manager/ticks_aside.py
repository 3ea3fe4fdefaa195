"""Which due schedules this manager cannot enqueue, such as those of tasks that it does not know.

Another manager may be able to, so their rows are left as they are. Only after a minute is it an error: late
ticks alone say nothing, as no manager may have been there.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.task_imports import Imported

FORGET_SECONDS: Final = 60.0
"""After this time they are tried again."""
OVERDUE_SECONDS: Final = 59.9
"""After this time, less than the other, it is an error."""


class Aside(NamedTuple):
    """What a batch has to know."""

    hidden: Collection[str] = ()
    """Schedules that are not tried."""
    overdue: Collection[str] = ()
    """Schedules that this manager could not enqueue a minute ago either."""
    imported: Imported = MappingProxyType({})
    """Tasks whose modules were imported, or could not be."""


NOTHING: Final = Aside()


class TicksAside:
    """Remember, by a monotonic clock, which schedules were put aside, and since when."""

    def __init__(self) -> None:
        self.forget_at = NEVER
        self._hidden: set[str] = set()
        self._since: dict[str, float] = {}
        self._imported: dict[str, BaseException | None] = {}
        self._is_stale = False

    def known(self, now: float) -> Aside:
        """Return what the next batch has to know."""
        if now >= self.forget_at:
            self._since = {name: since for name, since in self._since.items() if name in self._hidden}
            self._imported.clear()
            self.show()
        self._is_stale = False
        overdue = {name for name, since in self._since.items() if now - since >= OVERDUE_SECONDS}
        return Aside(sorted(self._hidden), overdue, dict(self._imported))

    def put(self, names: Iterable[str]) -> None:
        """Put schedules aside that a batch could not enqueue, unless all were to be tried again meanwhile."""
        now = time.monotonic()
        for name in names:
            self._since.setdefault(name, now)
            if not self._is_stale:
                self._hidden.add(name)
                self.forget_at = min(self.forget_at, now + FORGET_SECONDS)

    def end(self, names: Iterable[str]) -> None:
        """Note that schedules could be enqueued."""
        for name in names:
            self._since.pop(name, None)

    def show(self) -> None:
        """Have all schedules tried again."""
        self._hidden.clear()
        self.forget_at = NEVER
        self._is_stale = True

    def note_imported(self, imported: Mapping[str, BaseException | None]) -> None:
        """Note which modules were imported, and have all schedules tried again."""
        self._imported.update(imported)
        self.show()
