"""Drain the manager on request; end its running tasks by force on a second request or after a timeout."""

import time
from collections.abc import Callable

from django_partisan.engine.manager.component import NEVER, Component


class Drain(Component):
    """The progress of the manager's stop; ``begun`` is called when draining begins.

    Draining ends by force after ``timeout`` seconds; ``None`` means no limit.
    """

    def __init__(self, timeout: float | None, begun: Callable[[], None]) -> None:
        self._timeout = timeout
        self._begun = begun
        self._since: float | None = None
        self.signal: str | None = None
        """Name of the signal that made the first request, if it was a signal."""
        self.forced_at: float | None = None

    @property
    def is_on(self) -> bool:
        """True from the first request on: nothing new begins, and unstarted tasks are released."""
        return self._since is not None

    @property
    def is_forced(self) -> bool:
        """True once running tasks are being ended by force."""
        return self.forced_at is not None

    def request(self, signal_name: str | None = None) -> None:
        """Request to drain; a second request ends running tasks by force, unless it is SIGHUP.

        A closed terminal sends SIGHUP twice, from the shell and from the kernel; systemd sends it after
        SIGTERM.
        """
        if self._since is None:
            self._since = time.monotonic()
            self.signal = signal_name
            self._begun()
        elif signal_name != "SIGHUP":
            self._force()

    def turn(self, now: float) -> None:
        """End running tasks by force if draining has reached its timeout."""
        if self.is_on and now >= self.next_at():
            self._force()

    def next_at(self) -> float:
        """Return the monotonic time at which running tasks are ended by force."""
        if self._since is None or self._timeout is None or self.is_forced:
            return NEVER
        return self._since + self._timeout

    def _force(self) -> None:
        self.forced_at = self.forced_at or time.monotonic()
