"""How a manager stops: it drains when asked, then ends by force; and who asks.

Signals ask, and with ``--once`` or ``--until-empty`` the manager itself when nothing is left to do.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import FrameType
from typing import Final

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.promoter import Promoter

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Drain(Component):
    """Note how far stopping has come; ``begun`` is called when draining begins.

    ``timeout`` is in seconds, ``None`` for no limit.
    """

    def __init__(self, timeout: float | None, begun: Callable[[], None]) -> None:
        self._timeout = timeout
        self._begun = begun
        self._since: float | None = None
        self.signal: str | None = None
        """The name of the signal that asked first."""
        self.forced_at: float | None = None

    @property
    def is_on(self) -> bool:
        """True from the first request on: nothing new begins, and what has not started is released."""
        return self._since is not None

    @property
    def is_forced(self) -> bool:
        """True once running tasks are to be ended."""
        return self.forced_at is not None

    def ask(self, signal_name: str | None = None) -> None:
        """Ask to drain; ask again to end running tasks by force."""
        if self._since is None:
            self._since = time.monotonic()
            self.signal = signal_name
            self._begun()
        else:
            self._force()

    def turn(self, now: float) -> None:
        """End running tasks by force if the time for draining is up."""
        if now >= self.next_at():
            self._force()

    def next_at(self) -> float:
        """Return the monotonic time at which draining ends by force."""
        if self._since is None or self._timeout is None or self.is_forced:
            return NEVER
        return self._since + self._timeout

    def _force(self) -> None:
        self.forced_at = self.forced_at or time.monotonic()


class Until(Enum):
    """When a manager stops without being asked."""

    IDLE = "no task is due"
    EMPTY = "no task waits, due or scheduled"


class RunUntil(Component):
    """Ask to drain once the finders found nothing after the holders had nothing left.

    ``holders`` hold tasks, ``finders`` look for them. A run may enqueue or postpone a task after the
    promoter's last look began, so only a look that began later counts.
    """

    def __init__(
        self,
        until: Until,
        drain: Drain,
        promoter: Promoter,
        finders: Sequence[Component],
        holders: Sequence[Component],
    ) -> None:
        self._until = until
        self._drain = drain
        self._promoter = promoter
        self._finders = finders
        self._holders = holders
        self._busy_at = 0.0

    def turn(self, now: float) -> None:
        """Ask to drain if there is nothing left to do."""
        if self._drain.is_on:
            return
        if not all(component.is_idle for component in self._holders):
            self._busy_at = now
        elif self._promoter.has_looked_since(self._busy_at):
            is_empty_enough = self._until is Until.IDLE or self._promoter.next_due_in is None
            if is_empty_enough and all(component.is_idle for component in self._finders):
                self._drain.ask()


@contextmanager
def handling_signals(drain: Drain, deliver: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Have TERM and INT ask for the next stage; a handler only notes the signal and wakes the loop."""

    if threading.current_thread() is not threading.main_thread():
        yield  # Django's reloader handles signals in the main thread, and ends the process
        return

    def note(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        deliver(lambda: drain.ask(name))

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
