"""Show which processes are alive on this host and what each worker runs, in one file per manager process.

The manager and all its workers hold a lock on the whole file through one open file description. The lock is
released exactly when the last of them has ended, however it ended; a zombie holds no lock. In addition, each
process locks a byte of the file: the manager byte 0, the worker of slot n byte n + 1. Forked processes do not
inherit these locks, so they show which of the processes are alive. The pages of the file show what each
worker has started, and when the manager's lease ends.

| process | does what |
|---|---|
| manager | creates, locks and removes the file; clears a page before a worker starts; extends the lease |
| worker, main thread | locks its byte; writes its own page, without a lock |
| another manager on the host | checks who is alive; locks and removes the file when its processes are dead |

A process loses its byte locks when it closes any descriptor of the file. Therefore managers and workers keep
their descriptors open until they end, and never open their own file a second time.
"""

import contextlib
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from uuid import UUID

from django_partisan.engine import pages
from django_partisan.engine.file_locks import is_locked, lock_byte, lock_file, unlock_byte
from django_partisan.engine.pages import PAGE_BYTES, Page, pack
from django_partisan.engine.presence_folder import all_paths, path_of
from django_partisan.exceptions import CannotStart

SWEEP_SECONDS: Final = 7 * 24 * 3600
"""Far longer than any lease: a file this old proves nothing that the lease does not."""
_MANAGER_BYTE: Final = 0

_own: dict[UUID, mmap.mmap] = {}
"""The mappings of the files that this process has created, by name."""


class WorkerPage:
    """A worker's page, which only that worker writes, and its byte, which stays locked until it ends."""

    def __init__(self, fd: int, slot: int) -> None:
        self._fd = fd
        self._byte = slot + 1
        lock_byte(fd, self._byte)
        self._map = mmap.mmap(fd, 0)
        self._slot = slot
        self._place = pages.place_of(slot)
        self.begun = 0
        self.busy_seconds = 0.0

    def begin(self, task_id: int, since: float) -> int:
        """Record that a task begins; return the number of its run."""
        self.begun = begun = self.begun + 1
        # Not pack_into(): it clears the page before it fills it, and a reader could see the cleared page.
        self._map[self._place] = pack(2 * begun, task_id, since, self.busy_seconds, 2 * begun)
        return begun

    def idle(self, since: float) -> None:
        """Record that nothing runs."""
        number = 2 * self.begun + 1
        self._map[self._place] = pack(number, 0, since, self.busy_seconds, number)

    def is_condemned(self) -> bool:
        """Return whether the manager is about to kill this worker because of a run that did not end."""
        return pages.condemned(self._map, self._slot) != 0

    def lease_until(self) -> float:
        """Return when the manager's lease ends, by ``boot_clock``."""
        return pages.lease_end(self._map)

    def epoch(self) -> int:
        """Return how many times the manager's lease was lost; others may have the tasks sent before that."""
        return pages.epoch(self._map)

    def leave_slot(self) -> None:
        """Unlock the byte for the slot's next worker; the page must not be written afterwards."""
        unlock_byte(self._fd, self._byte)

    def close(self) -> None:
        """Close the file: at the end, or in a process that was forked from the worker."""
        self._map.close()
        os.close(self._fd)


class PresenceFile:
    """The presence file of a manager process, locked until the manager and all its workers have ended."""

    def __init__(self, name: UUID, slots: int, database: bytes = pages.NO_DATABASE) -> None:
        self.path = path_of(name)
        self._name = name
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            lock_file(self.fd)
            lock_byte(self.fd, _MANAGER_BYTE)
            os.write(self.fd, pages.blank(slots, database))  # a full disk fails here, not at the first task
        except OSError as error:
            raise CannotStart(
                f"The presence file {self.path} cannot be created: {error.strerror}.",
                "Free space there, or set TMPDIR to another folder on a local disk.",
            ) from error
        self._map = _own[name] = mmap.mmap(self.fd, 0)
        self.epoch = 0
        """How many times the lease was lost."""

    def page(self, slot: int) -> Page:
        """Return the page of a slot's worker."""
        return pages.read(self._map, slot)

    def clear(self, slot: int) -> None:
        """Clear a slot's page before a new worker takes the slot."""
        pages.clear(self._map, slot)

    def condemn(self, slot: int, run_number: int) -> None:
        """Mark a run of a slot's worker, so that the worker begins no other run; 0 removes the mark."""
        pages.condemn(self._map, slot, run_number)

    def begin_epoch(self) -> None:
        """Record that the lease was lost, so that the workers return the tasks they were sent before."""
        self.epoch += 1
        pages.set_epoch(self._map, self.epoch)

    def extend_lease(self, until: float) -> None:
        """Let workers start tasks until this ``boot_clock`` time; before the first call they start none."""
        pages.set_lease_end(self._map, until)
        self.touch()

    def touch(self) -> None:
        """Set the file's time to now, so that programs that clean temporary folders do not remove it."""
        os.utime(self.fd)

    def remove(self) -> None:
        """Remove the file and release the locks; the workers must have ended."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file in a process that was forked from this one, without removing or unlocking it."""
        del _own[self._name]
        self._map.close()
        os.close(self.fd)


class Sight(NamedTuple):
    """The state of a manager and its workers, as another process on the host sees it."""

    manager_lives: bool
    running: list[int]
    """Ids of the tasks that live workers run."""
    begun: list[int]
    """Ids of the tasks that dead workers had begun."""


def look(name: UUID) -> Sight | None:
    """Return which of a manager and its workers are alive and what they run; ``None`` if that is unknown.

    A file that cannot be read proves nothing: it may belong to another user, or to a container with its own
    file system.
    """
    if name in _own:
        return Sight(True, _without_zeros(pages.task_ids(_own[name])), [])
    fd = _open(name)
    if fd is None:
        return None
    try:
        return _sight(fd, is_dead=_is_free(fd))
    finally:
        os.close(fd)


@contextmanager
def if_dead(name: UUID, is_settled: Callable[[], bool] = lambda: True) -> Iterator[list[int] | None]:
    """Yield the ids of tasks that a dead process tree had begun, or ``None`` if it is not proven dead.

    The file stays locked inside the block, and is removed afterwards if ``is_settled()`` returns true.
    """
    fd = _lock_of_dead(name)
    if fd is None:
        yield None
        return
    try:
        yield _sight(fd, is_dead=True).begun
        if is_settled():
            path_of(name).unlink(missing_ok=True)
    finally:
        os.close(fd)


def is_dead(name: UUID) -> bool:
    """Return whether a process tree on this host is proven dead."""
    fd = _lock_of_dead(name)
    if fd is not None:
        os.close(fd)
    return fd is not None


def sweep() -> None:
    """Remove the files of managers that died long ago and whose tasks no manager has rescued."""
    for path in all_paths():
        with contextlib.suppress(OSError, ValueError):  # another process was faster, or it is not our file
            if path.stat().st_mtime < time.time() - SWEEP_SECONDS and is_dead(UUID(path.stem)):
                path.unlink()


def dead_with(database: bytes) -> list[UUID]:
    """Return the names of dead process trees on this host whose manager used this database."""
    found = []
    with contextlib.suppress(CannotStart):  # the folder changed after the start
        for path in all_paths():
            with contextlib.suppress(ValueError):  # not one of our files
                if _is_dead_with(name := UUID(path.stem), database):
                    found.append(name)
    return found


def _is_dead_with(name: UUID, database: bytes) -> bool:
    fd = _lock_of_dead(name)
    if fd is None:
        return False
    try:
        at = os.fstat(fd).st_size - len(database)
        return at >= 0 and os.pread(fd, len(database), at) == database
    finally:
        os.close(fd)


def _sight(fd: int, is_dead: bool) -> Sight:
    if os.fstat(fd).st_size < PAGE_BYTES:  # the manager died before it wrote the pages
        return Sight(not is_dead, [], [])
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as mapped:
        task_ids = pages.task_ids(mapped)
        has_byte_locks = pages.has_byte_locks(mapped)
    if is_dead:
        return Sight(False, [], _without_zeros(task_ids))
    if not has_byte_locks:
        return Sight(True, _without_zeros(task_ids), [])
    running: list[int] = []
    begun: list[int] = []
    for slot, task_id in enumerate(task_ids):
        if task_id:
            (running if is_locked(fd, slot + 1) else begun).append(task_id)
    return Sight(is_locked(fd, _MANAGER_BYTE), running, begun)


def _without_zeros(task_ids: list[int]) -> list[int]:
    return [task_id for task_id in task_ids if task_id]


def _lock_of_dead(name: UUID) -> int | None:
    """Open and lock the file of a process tree; return ``None`` unless the tree is proven dead."""
    fd = None if name in _own else _open(name)
    if fd is None or _is_free(fd):
        return fd
    os.close(fd)
    return None


def _open(name: UUID) -> int | None:
    try:
        return os.open(path_of(name), os.O_RDWR | os.O_CLOEXEC)
    except (OSError, CannotStart):  # the folder itself may have become unusable after the start
        return None


def _is_free(fd: int) -> bool:
    """Lock the file if no other process holds the lock; return whether this process now holds it."""
    try:
        lock_file(fd)
    except OSError:
        return False
    return True
