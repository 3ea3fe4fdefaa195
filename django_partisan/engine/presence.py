"""The presence file of a manager process: it shows which processes are alive, and what each worker runs.

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
their descriptors open until they end, and never open their own file a second time. ``liveness`` reads
the files.
"""

import mmap
import os
from typing import Final
from uuid import UUID

from django_partisan.engine import pages
from django_partisan.engine.file_locks import lock_byte, lock_file, unlock_byte
from django_partisan.engine.pages import Page, pack
from django_partisan.engine.presence_folder import path_of
from django_partisan.exceptions import CannotStart

MANAGER_BYTE: Final = 0

own: Final[dict[UUID, mmap.mmap]] = {}
"""The mappings of the files that this process has created, by name."""


def byte_of(slot: int) -> int:
    """Return the byte that the worker of a slot locks."""
    return slot + 1


class WorkerPage:
    """A worker's page, which only that worker writes, and its byte, which stays locked until it ends."""

    def __init__(self, fd: int, slot: int) -> None:
        self._fd = fd
        self._byte = byte_of(slot)
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
            lock_byte(self.fd, MANAGER_BYTE)
            os.write(self.fd, pages.blank(slots, database))  # a full disk fails here, not at the first task
        except OSError as error:
            raise CannotStart(
                f"The presence file {self.path} cannot be created: {error.strerror}.",
                "Free space there, or set TMPDIR to another folder on a local disk.",
            ) from error
        self._map = own[name] = mmap.mmap(self.fd, 0)
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
        del own[self._name]
        self._map.close()
        os.close(self.fd)
