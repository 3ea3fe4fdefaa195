"""Which process trees live on this host, and what each worker runs: one file for each manager process.

The manager and all its workers hold the file locked through one open file description, so the lock
is free exactly when the last of them has ended, however it ended; a zombie holds nothing. The file's
pages say what each worker has started.

| process | does what |
|---|---|
| manager | creates, locks and removes the file; clears a slot's page before its worker starts; reads pages |
| worker, main thread | writes its own page, without a lock |
| another manager of the host | locks and removes the file when its processes are dead |
"""

import contextlib
import fcntl
import mmap
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from django_partisan.exceptions import CannotStart

PAGE_BYTES: Final = 64
READ_TRIES: Final = 100
SWEEP_SECONDS: Final = 7 * 24 * 3600
"""Far longer than any lease: by then the file proves nothing that the lease does not."""
# A number that is new with every change, the running task's id (0: none), since when (monotonic),
# seconds busy before that, and the number again. The number is twice how many tasks have begun, and
# one more while none runs.
_page = struct.Struct("=QqddQ")


class Page(NamedTuple):
    """What a worker runs: ``task_id`` is 0 while it runs none; times are monotonic seconds."""

    begun: int
    task_id: int
    since: float
    busy_seconds: float


class WorkerPage:
    """The worker's own page, which it alone writes."""

    def __init__(self, fd: int, slot: int) -> None:
        self._map = mmap.mmap(fd, 0)
        self._place = _place_of(slot)
        self.begun = 0
        self.busy_seconds = 0.0

    def begin(self, task_id: int, since: float) -> None:
        """Note that a task begins."""
        self.begun = begun = self.begun + 1
        number = 2 * begun
        # Not pack_into(): it blanks the page before it fills it, and a blank page can be read as one.
        self._map[self._place] = _page.pack(number, task_id, since, self.busy_seconds, number)

    def idle(self, since: float) -> None:
        """Note that nothing runs."""
        number = 2 * self.begun + 1
        self._map[self._place] = _page.pack(number, 0, since, self.busy_seconds, number)


class PresenceFile:
    """A manager process's file, locked until it and all its workers have ended."""

    def __init__(self, name: UUID, slots: int) -> None:
        self.path = _path(name)
        _sweep(self.path.parent)
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self.fd, bytes(slots * PAGE_BYTES))  # a full disk fails here, not at the first task
        self._map = mmap.mmap(self.fd, 0)

    def page(self, slot: int) -> Page:
        """Return what the worker of a slot runs."""
        return _read(self._map, slot)

    def clear(self, slot: int) -> None:
        """Forget what a slot's worker ran, before a new worker takes the slot."""
        self._map[_place_of(slot)] = bytes(_page.size)

    def remove(self) -> None:
        """Remove the file and let go of the lock; the workers must have ended."""
        self.path.unlink(missing_ok=True)
        self._map.close()
        os.close(self.fd)


@contextmanager
def if_dead(name: UUID) -> Iterator[list[int] | None]:
    """Yield the ids of tasks that a dead process tree had started, or ``None`` if it is not proven dead.

    The file is removed afterwards. A file that cannot be seen proves nothing: it may belong to
    another user, or to a container with a file system of its own.
    """
    fd = _lock_of_dead(name)
    if fd is None:
        yield None
        return
    try:
        yield _begun_in(fd)
        _path(name).unlink(missing_ok=True)
    finally:
        os.close(fd)


def is_dead(name: UUID) -> bool:
    """Return whether a process tree of this host is proven dead."""
    fd = _lock_of_dead(name)
    if fd is not None:
        os.close(fd)
    return fd is not None


def _lock_of_dead(name: UUID) -> int | None:
    """Open and lock the file of a process tree; return ``None`` unless the tree is proven dead."""
    try:
        fd = os.open(_path(name), os.O_RDWR | os.O_CLOEXEC)
    except (OSError, CannotStart):  # the folder itself may have gone bad since we started
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _path(name: UUID) -> Path:
    return _folder() / f"{name}.lock"


def _sweep(folder: Path) -> None:
    """Remove files of managers that died long ago; no manager of their queue rescued their tasks."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(OSError, ValueError):  # somebody was faster, or it is no file of ours
            if path.stat().st_mtime < time.time() - SWEEP_SECONDS and is_dead(UUID(path.stem)):
                path.unlink()


def _begun_in(fd: int) -> list[int]:
    size = os.fstat(fd).st_size
    if size < PAGE_BYTES:  # its manager died before it had made the pages
        return []
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as pages:
        found = [_read(pages, slot).task_id for slot in range(size // PAGE_BYTES)]
    return [task_id for task_id in found if task_id]


def _place_of(slot: int) -> slice:
    start = slot * PAGE_BYTES
    return slice(start, start + _page.size)


def _read(pages: mmap.mmap, slot: int) -> Page:
    place = _place_of(slot)
    for _ in range(READ_TRIES):
        seen = pages[place]
        first, task_id, since, busy, last = _page.unpack(seen)
        if first == last and seen == pages[place]:
            return Page(first // 2, task_id, since, busy)
        time.sleep(0)  # the writer was in the middle of it
    return Page(0, 0, 0.0, 0.0)  # it died there: what it began is not known


def _folder() -> Path:
    """Return the folder of this user's files; raises ``CannotStart`` if there can be none."""
    try:
        folder = Path(tempfile.gettempdir()) / f"django-partisan-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise CannotStart(
            f"No folder for the file that shows who is alive: {error}. "
            "Set TMPDIR to a folder that can be written."
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise CannotStart(
            f"{folder} does not belong to this user alone. Remove it, or set TMPDIR to another folder."
        )
    return folder
