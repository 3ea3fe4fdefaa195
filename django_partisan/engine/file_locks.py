"""Locks of a presence file: of the whole file, and of one byte for each process.

The lock of the whole file belongs to an open file description, which forked processes share: it is
free when the last of them has closed it. The lock of a byte belongs to the process that took it.
"""

import fcntl
import os
import struct
import sys
from typing import Final

# Elsewhere a lock of the whole file may exclude those of its bytes: no byte is locked, and all
# processes count as alive while one of them is.
_LOCKS_BYTES: Final = sys.platform == "linux"
_flock = struct.Struct("hhqqi")  # struct flock of fcntl(2): type, whence, start, length, process


def lock_file(fd: int) -> None:
    """Lock the whole file; raises ``OSError`` if others hold it."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_byte(fd: int, byte: int) -> None:
    """Lock a byte until the process ends, or closes any descriptor of the file."""
    if _LOCKS_BYTES:  # pragma: no branch: the tests run on Linux
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)


def unlock_byte(fd: int, byte: int) -> None:
    """Unlock a byte that this process has locked."""
    if _LOCKS_BYTES:  # pragma: no branch: the tests run on Linux
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, byte)


def is_locked(fd: int, byte: int) -> bool:
    """Return whether another process has locked a byte; takes no lock, which could be in its way."""
    if not _LOCKS_BYTES:  # pragma: no cover: not on Linux
        return True
    asked = _flock.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    return bool(_flock.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
