"""Send messages, with descriptors, between the manager and its fork server.

Descriptors follow their message, each time with one byte.
"""

import os
import socket
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

START: Final = "start"
WAIT: Final = "wait"
EXIT_CODE_SECONDS: Final = 1.0
"""How long the manager waits for the exit code of a worker that has ended."""


class Channel:
    """One end of the connection; every call may block."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._messages = Connection(os.dup(end.fileno()))

    def send(self, value: Any, descriptors: Sequence[int] = ()) -> None:
        """Send a value; raises ``OSError`` if the other end is closed."""
        self._messages.send((value, len(descriptors)))
        if descriptors:
            socket.send_fds(self._socket, [b"!"], list(descriptors))

    def receive(self, timeout: float | None = None) -> tuple[Any, list[int]]:
        """Return the next value and its descriptors, which programs that this process starts do not inherit.

        Raises ``EOFError`` if the other end is closed, and ``TimeoutError`` after ``timeout`` seconds.
        """
        if not self._messages.poll(timeout):
            raise TimeoutError
        try:
            value, number = self._messages.recv()
            descriptors = socket.recv_fds(self._socket, 1, number)[1] if number else []
        except OSError as error:  # reset, or closed in the middle of a message
            raise EOFError("the other end of the channel is closed") from error
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return value, descriptors

    def close(self) -> None:
        """Close this end."""
        self._messages.close()
        self._socket.close()
