"""Send framed messages between a manager and a worker, without ever blocking the manager.

A frame is a length of four bytes and a marshalled message. Marshal accepts plain values only, so no user
class can cross the pipe, or fail to be rebuilt on the other side.
"""

import marshal
import os
import select
import struct
from collections import deque
from contextlib import suppress
from typing import Final

from django_partisan.engine.protocol import Message, decode, encode

FRAME_MAX_BYTES: Final = 1 << 30
END: Final = "end of file"
TORN: Final = "torn frame"
_READ_BYTES: Final = 1 << 18
_length = struct.Struct("!I")


class PipeError(Exception):
    """The other end is closed, or the data received is not a valid message."""


class Frames:
    """A decoder that splits a stream of bytes into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def ending(self) -> str:
        """How the stream ends if no more data comes: ``END``, or ``TORN`` in the middle of a message."""
        return TORN if self._pending else END

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that ``data`` completes; raises ``PipeError`` for an invalid frame."""
        pending = self._pending
        pending += data
        messages: list[Message] = []
        start = 0
        while len(pending) - start >= _length.size:
            (length,) = _length.unpack_from(pending, start)
            if length > FRAME_MAX_BYTES:
                raise PipeError(f"a frame of {length} bytes is too large")
            end = start + _length.size + length
            if len(pending) < end:
                break
            try:
                messages.append(decode(marshal.loads(pending[start + _length.size : end])))
            except (EOFError, ValueError, TypeError) as error:
                raise PipeError(f"a frame cannot be decoded: {error}") from error
            start = end
        del pending[:start]
        return messages


def frame(message: Message) -> bytes:
    """Encode a message as bytes; raises ``ValueError`` if it contains other than plain values."""
    body = marshal.dumps(encode(message))
    return _length.pack(len(body)) + body


class _End:
    """One end of a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.frames = Frames()

    def _read(self) -> list[Message]:
        """Read once and return the complete messages; raises ``PipeError`` at the end of the pipe."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            raise
        except ConnectionResetError:
            data = b""  # also the end: the other process died before it had read everything
        except OSError as error:
            raise PipeError(f"reading failed: {error}") from error
        if not data:
            raise PipeError(self.frames.ending)
        return self.frames.feed(data)


class ManagerEnd(_End):
    """The manager's end of a worker's pipe, used by its loop: reads and writes without blocking."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._unsent: deque[memoryview] = deque()
        os.set_blocking(fd, False)

    @property
    def has_unsent(self) -> bool:
        """True if the loop should call ``flush()`` when the pipe is writable."""
        return bool(self._unsent)

    def send(self, message: Message) -> None:
        """Send a message now or when the pipe is writable; raises ``PipeError`` if nobody reads it."""
        self._unsent.append(memoryview(frame(message)))
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe accepts."""
        while self._unsent:
            head = self._unsent[0]
            try:
                written = os.write(self.fd, head)
            except BlockingIOError:
                return
            except OSError as error:
                self._unsent.clear()
                raise PipeError(f"writing failed: {error}") from error
            if written == len(head):
                self._unsent.popleft()
            else:
                self._unsent[0] = head[written:]

    def receive(self) -> list[Message]:
        """Return the messages received, ``[]`` if none is complete; raises ``PipeError`` at the end."""
        messages: list[Message] = []
        with suppress(BlockingIOError):
            while not messages:
                messages = self._read()
        return messages

    def close(self) -> None:
        """Close the pipe and discard unsent data."""
        self._unsent.clear()
        os.close(self.fd)


class WorkerEnd(_End):
    """The worker's end of the pipe. Reads and writes may block."""

    def receive(self) -> list[Message]:
        """Wait for messages and return them; raises ``PipeError`` at the end of the pipe."""
        while not (messages := self._read()):
            pass
        return messages

    def receive_available(self) -> list[Message]:
        """Return the messages that have arrived, without waiting for more."""
        messages: list[Message] = []
        poll = select.poll()  # select() fails for descriptors from 1024
        poll.register(self.fd, select.POLLIN)
        with suppress(PipeError):  # the next receive() raises it
            while poll.poll(0):
                messages += self._read()
        return messages

    def send(self, message: Message) -> None:
        """Send a message; raises ``PipeError`` if the other end is closed."""
        rest = memoryview(frame(message))
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except OSError as error:
            raise PipeError(f"writing failed: {error}") from error
