"""How other threads and signal handlers reach the loop: a list of calls, and a pipe that wakes it."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable


class LoopCalls:
    """Have the loop call functions in its own thread, in order."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self.fd, self._ring = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._ring, False)

    def deliver(self, call: Callable[[], None]) -> None:
        """Have the loop run ``call`` soon; safe from any thread and from a signal handler."""
        self._calls.append(call)
        with contextlib.suppress(OSError):  # a full pipe wakes the loop too; after close() nobody does
            os.write(self._ring, b"!")

    def call(self, call: Callable[[], None], timeout: float) -> None:
        """Have the loop run ``call`` soon; wait until it has, at most ``timeout`` seconds."""
        called = threading.Event()
        self.deliver(call)
        self.deliver(called.set)
        called.wait(timeout)

    def run_delivered(self) -> None:
        """Call the functions delivered so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def close(self) -> None:
        """Close the pipe."""
        ring, self._ring = self._ring, -1
        os.close(self.fd)
        os.close(ring)
