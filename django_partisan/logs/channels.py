"""Ways to write to an open file without waiting for its reader.

A pipe, terminal or socket blocks its writer while nobody reads. ``O_NONBLOCK`` on the descriptor that the
process was given would change it for every process that shares it, so it is never set there.

| file | written through |
|---|---|
| pipe, FIFO | a descriptor of our own, opened through ``/proc`` with ``O_NONBLOCK`` |
| socket | ``MSG_DONTWAIT``, for each message |
| regular file, other device | the descriptor itself: there is no reader to wait for |
| terminal | the descriptor itself, in a thread: without blocking it takes parts of lines, and tears them |
| pipe or socket where the above does not work | the descriptor itself, in a thread |
"""

import os
import select
import socket
import stat
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

OWN_FILES: Final = "/proc/self/fd"
WRITE_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
_POLL_MILLISECONDS: Final = 1000
_PAUSE_SECONDS: Final = 0.002


def _nothing() -> None:
    pass


class Channel(NamedTuple):
    """``write`` returns how many bytes it wrote; if it would have to wait, it raises ``BlockingIOError``.

    If ``is_blocking`` it waits instead, and belongs in a thread of its own.
    """

    fd: int
    write: Callable[[bytes], int]
    is_blocking: bool = False
    close: Callable[[], None] = _nothing
    """Closes what was opened for the channel."""

    def wait(self) -> None:
        """Wait until the file may take bytes again, or for a second."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        poll.poll(_POLL_MILLISECONDS)
        time.sleep(_PAUSE_SECONDS)  # some files are writable for poll(), and yet refuse


def channel_to(fd: int, own_files: str = OWN_FILES) -> Channel:
    """Return a channel to the file behind ``fd``, which stays as it is; raises ``OSError``."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode):
        return _to_pipe(fd, own_files)
    if stat.S_ISSOCK(mode):
        return _to_socket(fd)
    return blocking(fd) if os.isatty(fd) else plain(fd)


def plain(fd: int) -> Channel:
    """Return a channel that writes to ``fd`` itself."""
    return Channel(fd, partial(os.write, fd))


def owned(fd: int) -> Channel:
    """Return a channel that writes to ``fd``, which is its own, opened with ``O_NONBLOCK``."""
    return plain(fd)._replace(close=partial(os.close, fd))


def blocking(fd: int) -> Channel:
    """Return a channel that waits for the reader of ``fd``."""
    return plain(fd)._replace(is_blocking=True)


def _to_pipe(fd: int, own_files: str) -> Channel:
    try:
        return owned(os.open(f"{own_files}/{fd}", WRITE_FLAGS))
    except OSError:  # there is no /proc, or the pipe belongs to another user
        return blocking(fd)


def _to_socket(fd: int) -> Channel:
    dont_wait = getattr(socket, "MSG_DONTWAIT", 0)
    kind = getattr(socket, "SOCK_NONBLOCK", 0)
    if not dont_wait or not kind:  # pragma: no cover: not on Linux
        return blocking(fd)
    # SOCK_NONBLOCK keeps Python from setting the mode of the shared socket after the default timeout, and
    # from waiting by itself.
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | kind, fileno=os.dup(fd))
    flags = dont_wait | socket.MSG_NOSIGNAL
    return Channel(own.fileno(), lambda data: own.send(data, flags), close=own.close)
