"""The state of a queue's pause, written by the ``Pauses`` component and read by others."""

import time


class QueuePause:
    """The pause of one queue."""

    def __init__(self) -> None:
        self.is_on = False
        """True while the queue is paused, so that nothing new may start."""
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """How many seconds the queue has been paused; 0 if it is not."""
        return time.monotonic() - self._since if self.is_on else 0.0

    def begin(self, seconds: float = 0.0) -> bool:
        """Record that the queue has been paused for ``seconds``; return True if it was not paused here."""
        begins, self.is_on = not self.is_on, True
        self._since = time.monotonic() - seconds
        return begins

    def end(self) -> None:
        """Record that the queue is not paused."""
        self.is_on = False
