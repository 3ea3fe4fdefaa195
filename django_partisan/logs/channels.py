"""Write to an open file without waiting for its reader.

A pipe, terminal or socket blocks its writer while nobody reads. Setting ``O_NONBLOCK`` on the descriptor that
the process inherited would change it for every process that shares it, so it is never set there.

| file | written through |
|---|---|
| pipe, FIFO | a new descriptor, opened through ``/proc`` with ``O_NONBLOCK`` |
| socket | ``MSG_DONTWAIT``, for each message |
| regular file, other device | the descriptor itself: there is no reader to wait for |
| terminal | the descriptor itself, in a thread: non-blocking, it accepts parts of lines, which tears them |
| pipe or socket where the above does not work | the descriptor itself, in a thread |
"""

import os
import select
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

OWN_FILES: Final = "/proc/self/fd"
WRITE_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
_POLL_MILLISECONDS: Final = 1000
_PAUSE_SECONDS: Final = 0.002


class Channel(NamedTuple):
    """A way to write to one file.

    ``write`` returns the number of bytes it wrote, and raises ``BlockingIOError`` if it would have to wait.
    If ``is_blocking`` is true it waits instead, and must be called in a separate thread.
    """

    fd: int
    write: Callable[[bytes], int]
    is_blocking: bool = False
    close: Callable[[], object] = lambda: None
    """The function that closes what was opened for the channel."""

    def wait(self) -> None:
        """Wait until the file is writable again, or for a second."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        poll.poll(_POLL_MILLISECONDS)
        time.sleep(_PAUSE_SECONDS)  # poll() reports some files as writable that refuse data


def channel_to(fd: int, own_files: str = OWN_FILES) -> Channel:
    """Return a channel to the file behind ``fd``, without changing ``fd``; raises ``OSError``."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode):
        with suppress(OSError):  # there is no /proc, or the pipe belongs to another user
            return owned(os.open(f"{own_files}/{fd}", WRITE_FLAGS))
    if stat.S_ISSOCK(mode) and hasattr(socket, "SOCK_NONBLOCK"):  # on Linux
        return _to_socket(fd)
    has_reader = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
    return Channel(fd, partial(os.write, fd), is_blocking=has_reader)


def owned(fd: int) -> Channel:
    """Return a channel that owns ``fd``, which was opened with ``O_NONBLOCK``, and closes it."""
    return Channel(fd, partial(os.write, fd), close=partial(os.close, fd))


def _to_socket(fd: int) -> Channel:
    # With SOCK_NONBLOCK, Python does not set the mode of the shared socket from the default timeout, and
    # does not wait itself.
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, fileno=os.dup(fd))
    flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
    return Channel(own.fileno(), lambda data: own.send(data, flags), close=own.close)
