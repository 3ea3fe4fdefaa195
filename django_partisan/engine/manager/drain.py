"""How a manager stops: it drains when asked, by a signal for example, then ends by force."""

import time
from collections.abc import Callable

from django_partisan.engine.manager.component import NEVER, Component


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
        """Ask to drain; ask again to end running tasks by force, which a hangup never does.

        A closed terminal sends HUP twice, from the shell and from the kernel; systemd sends it after TERM.
        """
        if self._since is None:
            self._since = time.monotonic()
            self.signal = signal_name
            self._begun()
        elif signal_name != "SIGHUP":
            self._force()

    def turn(self, now: float) -> None:
        """End running tasks by force if the time for draining is up."""
        if self.is_on and now >= self.next_at():
            self._force()

    def next_at(self) -> float:
        """Return the monotonic time at which draining ends by force."""
        if self._since is None or self._timeout is None or self.is_forced:
            return NEVER
        return self._since + self._timeout

    def _force(self) -> None:
        self.forced_at = self.forced_at or time.monotonic()
