"""Send messages, with descriptors, between the manager and its fork server.

A message is its length in four bytes and a marshalled value. Descriptors travel with its first bytes. A short
message is sent by one system call, so that a timeout never splits it.
"""

import marshal
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final

START: Final = "start"
WAIT: Final = "wait"
EXIT_CODE_SECONDS: Final = 1.0
"""How long the manager waits for the exit code of a worker that has ended."""
DESCRIPTORS_AT_MOST: Final = 4
_length = struct.Struct("!I")


class Channel:
    """One end of the connection; every call may block."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, value: Any, descriptors: Sequence[int] = ()) -> None:
        """Send a value; raises ``OSError`` if the other end is closed."""
        body = marshal.dumps(value)
        data = memoryview(_length.pack(len(body)) + body)
        sent = socket.send_fds(self._socket, [data], list(descriptors)) if descriptors else 0
        self._socket.sendall(data[sent:])

    def receive(self, timeout: float | None = None) -> tuple[Any, list[int]]:
        """Return the next value and its descriptors, which programs that this process starts do not inherit.

        Raises ``EOFError`` if the other end is closed, and ``TimeoutError`` after ``timeout`` seconds.
        """
        self._socket.settimeout(timeout)
        try:
            head, descriptors, _, _ = socket.recv_fds(self._socket, _length.size, DESCRIPTORS_AT_MOST)
        except ConnectionResetError:
            head, descriptors = b"", []
        finally:
            self._socket.settimeout(None)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        (size,) = _length.unpack(head + self._read(_length.size - len(head)))
        return marshal.loads(self._read(size)), descriptors

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError("the other end of the channel is closed")
            data += part
        return data
