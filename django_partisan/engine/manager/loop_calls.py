"""Run functions in the manager's loop on behalf of other threads and signal handlers.

A call is added to a list, and a byte written to a pipe wakes the loop.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable


class LoopCalls:
    """Calls that the loop makes in its own thread, in the order of their delivery."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self.fd, self._ring = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._ring, False)

    def deliver(self, call: Callable[[], None]) -> None:
        """Make the loop run ``call`` soon; safe in any thread and in signal handlers."""
        self._calls.append(call)
        with contextlib.suppress(OSError):  # a full pipe wakes the loop too; after close() there is none
            os.write(self._ring, b"!")

    def call(self, call: Callable[[], None], timeout: float) -> None:
        """Make the loop run ``call`` soon; wait for it for at most ``timeout`` seconds."""
        called = threading.Event()
        self.deliver(call)
        self.deliver(called.set)
        called.wait(timeout)

    def run_delivered(self) -> None:
        """Run the calls delivered so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def close(self) -> None:
        """Close the pipe."""
        ring, self._ring = self._ring, -1
        os.close(self.fd)
        os.close(ring)
