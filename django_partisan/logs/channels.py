"""Ways to write to an open file without waiting for its reader.

A pipe, terminal or socket blocks who writes while nobody reads. ``O_NONBLOCK`` on the descriptor that the
process was given would change it for every process that shares it, so it is never set there.

| file | written through |
|---|---|
| pipe, FIFO, terminal | a descriptor of our own, opened through ``/proc`` with ``O_NONBLOCK`` |
| socket | ``MSG_DONTWAIT``, for each message |
| regular file, other device | the descriptor itself: there is no reader to wait for |
| pipe, terminal or socket where neither works | the descriptor itself, in a thread; ``is_blocking`` says so |
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


class Channel(NamedTuple):
    """``write`` returns how many bytes it wrote, or raises ``BlockingIOError`` if it would have to wait.

    If ``is_blocking`` it waits instead.
    """

    fd: int
    write: Callable[[bytes], int]
    is_blocking: bool = False

    def wait(self) -> None:
        """Wait until the file may take bytes again, or for a second."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        poll.poll(_POLL_MILLISECONDS)
        time.sleep(_PAUSE_SECONDS)  # some files are writable for poll(), and yet refuse


def channel_to(fd: int, own_files: str = OWN_FILES) -> Channel:
    """Return a channel to the file behind ``fd``, which stays as it is; raises ``OSError``."""
    mode = os.fstat(fd).st_mode
    if may_block(fd):
        try:
            return plain(os.open(f"{own_files}/{fd}", WRITE_FLAGS))
        except OSError:  # no /proc, or the file belongs to another user
            return Channel(fd, partial(os.write, fd), is_blocking=True)
    if stat.S_ISSOCK(mode):
        return _to_socket(fd)
    return plain(fd)


def plain(fd: int) -> Channel:
    """Return a channel that writes to ``fd`` itself: a file without reader, or opened with ``O_NONBLOCK``."""
    return Channel(fd, partial(os.write, fd))


def may_block(fd: int) -> bool:
    """Return whether ``fd`` is a pipe, FIFO or terminal."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and os.isatty(fd))


def _to_socket(fd: int) -> Channel:
    dont_wait = getattr(socket, "MSG_DONTWAIT", 0)
    kind = getattr(socket, "SOCK_NONBLOCK", 0)
    if not dont_wait or not kind:  # pragma: no cover: not on Linux
        return Channel(fd, partial(os.write, fd), is_blocking=True)
    # SOCK_NONBLOCK keeps Python from setting the mode of the shared socket after the default timeout, and
    # from waiting by itself.
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | kind, fileno=os.dup(fd))
    flags = dont_wait | socket.MSG_NOSIGNAL
    return Channel(own.fileno(), lambda data: own.send(data, flags))
