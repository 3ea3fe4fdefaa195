"""A pipe between a manager and a worker: framed messages that never block the manager.

A frame is four bytes of length and a marshalled message. Marshal takes plain values only, so no
class of a user can cross, or fail to be made again on the other side.
"""

import marshal
import os
import select
import struct
from collections import deque
from typing import Final

from django_partisan.engine.protocol import Message, ProtocolError, decode, encode

FRAME_MAX_BYTES: Final = 1 << 30
END: Final = "end of file"
TORN: Final = "torn frame"
_READ_BYTES: Final = 1 << 18
_length = struct.Struct("!I")


class Broken(Exception):
    """The other end is gone, or what came is no message."""


class Frames:
    """Cut a stream of bytes into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def torn(self) -> bool:
        """True if part of a message came whose end has not."""
        return bool(self._pending)

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that ``data`` completes; raises ``Broken`` if it is none of ours."""
        pending = self._pending
        pending += data
        messages = []
        start = 0
        while len(pending) - start >= _length.size:
            (length,) = _length.unpack_from(pending, start)
            if length > FRAME_MAX_BYTES:
                raise Broken(f"a frame of {length} bytes is announced")
            end = start + _length.size + length
            if len(pending) < end:
                break
            messages.append(_loads(pending[start + _length.size : end]))
            start = end
        del pending[:start]
        return messages


def frame(message: Message) -> bytes:
    """Return a message as bytes; raises ``ValueError`` if it is not made of plain values."""
    body = marshal.dumps(encode(message))
    return _length.pack(len(body)) + body


def _loads(body: bytearray) -> Message:
    try:
        return decode(marshal.loads(body))
    except (EOFError, ValueError, TypeError, ProtocolError) as error:
        raise Broken(f"a frame cannot be read: {error}") from error


class ManagerEnd:
    """The manager's end of a worker's pipe: reads what is there, writes what fits, keeps the rest."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._frames = Frames()
        self._unsent: deque[memoryview] = deque()
        os.set_blocking(fd, False)

    @property
    def has_unsent(self) -> bool:
        """True if the loop should call ``flush()`` when the pipe takes more."""
        return bool(self._unsent)

    @property
    def ending(self) -> str:
        """How the pipe ends if nothing comes any more: ``END``, or ``TORN`` in the middle of a message."""
        return TORN if self._frames.torn else END

    def send(self, message: Message) -> None:
        """Send a message, now or when the pipe takes it; raises ``Broken`` if nobody reads."""
        self._unsent.append(memoryview(frame(message)))
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe takes."""
        while self._unsent:
            head = self._unsent[0]
            try:
                written = os.write(self.fd, head)
            except BlockingIOError:
                return
            except OSError as error:
                self._unsent.clear()
                raise Broken(f"writing failed: {error}") from error
            if written == len(head):
                self._unsent.popleft()
            else:
                self._unsent[0] = head[written:]

    def receive(self) -> list[Message]:
        """Return messages that have come, ``[]`` if none is whole; raises ``Broken`` at the pipe's end."""
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return []
            except ConnectionResetError:
                data = b""  # the end as well: the worker died before it had read all that it was sent
            except OSError as error:
                raise Broken(f"reading failed: {error}") from error
            if not data:
                raise Broken(self.ending)
            messages = self._frames.feed(data)
            if messages or len(data) < _READ_BYTES:
                return messages

    def close(self) -> None:
        """Close the pipe; what is unsent is forgotten."""
        self._unsent.clear()
        os.close(self.fd)


class WorkerEnd:
    """The worker's end: it may block, in reading and in writing."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._frames = Frames()

    def receive(self) -> list[Message]:
        """Wait for messages and return them; raises ``Broken`` at the end of the pipe."""
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except OSError as error:
                raise Broken(f"reading failed: {error}") from error
            if not data:
                raise Broken(END)
            messages = self._frames.feed(data)
            if messages:
                return messages

    def receive_available(self) -> list[Message]:
        """Return the messages that have come, without waiting for more."""
        messages: list[Message] = []
        while self._readable():
            try:
                data = os.read(self.fd, _READ_BYTES)
            except OSError:
                break
            if not data:
                break  # the next receive() tells of it
            messages += self._frames.feed(data)
        return messages

    def send(self, message: Message) -> None:
        """Send a message; raises ``Broken`` if nobody reads."""
        rest = memoryview(frame(message))
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except OSError as error:
            raise Broken(f"writing failed: {error}") from error

    def _readable(self) -> bool:
        poll = select.poll()  # select() fails with descriptors from 1024
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))
