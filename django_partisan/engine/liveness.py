"""Read presence files: which managers and workers on this host are alive, and what the dead had begun.

A task is rescued early only with proof; a file that cannot be read or locked proves nothing.
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
from django_partisan.engine.file_locks import is_locked, lock_file
from django_partisan.engine.pages import PAGE_BYTES
from django_partisan.engine.presence import MANAGER_BYTE, byte_of, own
from django_partisan.engine.presence_folder import all_paths, path_of
from django_partisan.exceptions import CannotStart

SWEEP_SECONDS: Final = 7 * 24 * 3600
"""Far longer than any lease: a file this old proves nothing that the lease does not."""


class Liveness(NamedTuple):
    """The state of a manager and its workers, as another process on the host sees it."""

    manager_lives: bool
    running: list[int]
    """Ids of the tasks that live workers run."""
    begun: list[int]
    """Ids of the tasks that dead workers had begun."""


def read_liveness(name: UUID) -> Liveness | None:
    """Return which of a manager and its workers are alive and what they run; ``None`` if that is unknown.

    A file that cannot be read proves nothing: it may belong to another user, or to a container with its own
    file system.
    """
    if name in own:
        return Liveness(True, _without_zeros(pages.task_ids(own[name])), [])
    fd = _open(name)
    if fd is None:
        return None
    try:
        return _liveness(fd, is_dead=_is_free(fd))
    finally:
        os.close(fd)


@contextmanager
def begun_if_dead(name: UUID, is_settled: Callable[[], bool] = lambda: True) -> Iterator[list[int] | None]:
    """Yield the ids of tasks that a dead process tree had begun, or ``None`` if it is not proven dead.

    The file stays locked inside the block, and is removed afterwards if ``is_settled()`` returns true.
    """
    fd = _lock_of_dead(name)
    if fd is None:
        yield None
        return
    try:
        yield _liveness(fd, is_dead=True).begun
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


def remove_stale_files() -> None:
    """Remove the files of managers that died long ago and whose tasks no manager has rescued."""
    for path in all_paths():
        with contextlib.suppress(OSError, ValueError):  # another process was faster, or it is not our file
            if path.stat().st_mtime < time.time() - SWEEP_SECONDS and is_dead(UUID(path.stem)):
                path.unlink()


def dead_managers_of(database: bytes) -> list[UUID]:
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


def _liveness(fd: int, is_dead: bool) -> Liveness:
    if os.fstat(fd).st_size < PAGE_BYTES:  # the manager died before it wrote the pages
        return Liveness(not is_dead, [], [])
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as mapped:
        task_ids = pages.task_ids(mapped)
        has_byte_locks = pages.has_byte_locks(mapped)
    if is_dead:
        return Liveness(False, [], _without_zeros(task_ids))
    if not has_byte_locks:
        return Liveness(True, _without_zeros(task_ids), [])
    running: list[int] = []
    begun: list[int] = []
    for slot, task_id in enumerate(task_ids):
        if task_id:
            (running if is_locked(fd, byte_of(slot)) else begun).append(task_id)
    return Liveness(is_locked(fd, MANAGER_BYTE), running, begun)


def _without_zeros(task_ids: list[int]) -> list[int]:
    return [task_id for task_id in task_ids if task_id]


def _lock_of_dead(name: UUID) -> int | None:
    """Open and lock the file of a process tree; return ``None`` unless the tree is proven dead."""
    fd = None if name in own else _open(name)
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
