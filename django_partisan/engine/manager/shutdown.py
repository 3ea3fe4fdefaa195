"""The stages of stopping, and the signals that ask for them."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Serve, then drain when asked, then stop by force when asked again or when time is up."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._asked = 0
        self.draining_since: float | None = None
        self.signal: str | None = None
        self.forced_at: float | None = None

    @property
    def is_draining(self) -> bool:
        """True from the first request on."""
        return self.draining_since is not None

    def ask(self, name: str | None = None) -> None:
        """Ask to drain; ask again to stop by force."""
        self._asked += 1
        if self.draining_since is None:
            self.draining_since = time.monotonic()
            self.signal = name
        else:
            self._force()

    @property
    def is_forced(self) -> bool:
        """True once running tasks are to be ended."""
        return self.forced_at is not None

    def turn(self, now: float) -> None:
        """Go on to force if the time for draining is up."""
        if now >= self.next_at():
            self._force()

    def _force(self) -> None:
        self.forced_at = self.forced_at or time.monotonic()

    def next_at(self) -> float:
        """Return the monotonic time at which draining ends by force."""
        if self.draining_since is None or self._timeout is None or self.is_forced:
            return float("inf")
        return self.draining_since + self._timeout


@contextmanager
def handling_signals(shutdown: Shutdown, deliver: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Have TERM and INT ask for the next stage; a handler only notes the signal and wakes the loop."""

    if threading.current_thread() is not threading.main_thread():
        yield  # Django's reloader handles signals in the main thread, and ends the process
        return

    def note(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        deliver(lambda: shutdown.ask(name))

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
