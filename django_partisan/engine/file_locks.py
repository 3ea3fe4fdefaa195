"""Locks on a presence file: one on the whole file, and one on a single byte for each process.

The lock on the whole file belongs to an open file description, which forked processes share: it is released
when the last of them closes it. The lock on a byte belongs to the process that took it.
"""

import fcntl
import os
import struct
import sys
from typing import Final

# On other systems a lock on the whole file may conflict with locks on its bytes. No bytes are locked there,
# and all processes are considered alive while any of them is.
_LOCKS_BYTES: Final = sys.platform == "linux"
_flock = struct.Struct("hhqqi")  # struct flock of fcntl(2): type, whence, start, length, pid


def lock_file(fd: int) -> None:
    """Lock the whole file; raises ``OSError`` if another open file description holds the lock."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_byte(fd: int, byte: int) -> None:
    """Lock a byte until this process ends or closes any descriptor of the file."""
    if _LOCKS_BYTES:  # pragma: no branch: the tests run on Linux
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)


def unlock_byte(fd: int, byte: int) -> None:
    """Unlock a byte that this process has locked."""
    if _LOCKS_BYTES:  # pragma: no branch: the tests run on Linux
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, byte)


def is_locked(fd: int, byte: int) -> bool:
    """Return whether another process has locked a byte, without taking a lock that could get in its way."""
    if not _LOCKS_BYTES:  # pragma: no cover: not on Linux
        return True
    asked = _flock.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    return bool(_flock.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
