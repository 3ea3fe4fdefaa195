"""The pages of a presence file: what each worker runs, and until when its manager's lease is valid.

There is a page for each slot, written by its worker, and a last one, written by the manager, which also
writes a mark behind each page. Nobody takes a lock for it: a reader notices a page that is just being
written.
"""

import mmap
import struct
import time
from typing import Final, NamedTuple

PAGE_BYTES: Final = 64
READ_TRIES: Final = 100
# A number that is new with every change, the running task's id (0: none), since when (monotonic),
# seconds busy before that, and the number again. The number is twice how many tasks have begun, and
# one more while none runs.
_page = struct.Struct("=QqddQ")
# The last page holds the end of the lease and its epoch where the others hold ``since`` and seconds, and then
# the mark and the database. An earlier version reads it as a slot that runs nothing.
# Behind a slot's page the manager marks the number of a run whose worker it is about to kill.
_condemned = struct.Struct("=Q")
_CONDEMNED_AT: Final = _page.size
_lease_end = struct.Struct("=d")
_epoch = struct.Struct("=Q")
_LEASE_END_AT: Final = 16
_EPOCH_AT: Final = 24
_MARK: Final = b"bytelock"
"""Shows that the processes which use the file lock a byte each."""
DATABASE_BYTES: Final = PAGE_BYTES - _page.size - len(_MARK)
NO_DATABASE: Final = bytes(DATABASE_BYTES)
"""What earlier versions wrote."""


class Page(NamedTuple):
    """What a worker runs: ``task_id`` is 0 while it runs none; times are monotonic seconds."""

    begun: int
    task_id: int
    since: float
    busy_seconds: float


def blank(slots: int, database: bytes = NO_DATABASE) -> bytes:
    """Return the pages of a new file; it ends with what identifies the database of its manager."""
    return bytes(slots * PAGE_BYTES + _page.size) + _MARK + database


def has_byte_locks(pages: mmap.mmap) -> bool:
    """Return whether the file's processes lock a byte each; those of an earlier version do not."""
    mark_at = len(pages) - PAGE_BYTES + _page.size
    return pages[mark_at : mark_at + len(_MARK)] == _MARK


def place_of(slot: int) -> slice:
    """Return where a slot's page is."""
    start = slot * PAGE_BYTES
    return slice(start, start + _page.size)


pack: Final = _page.pack
"""Return a page, from its number, task id, since, busy seconds, and the number once more."""


def clear(pages: mmap.mmap, slot: int) -> None:
    """Blank a slot's page, and its mark."""
    pages[place_of(slot)] = bytes(_page.size)
    condemn(pages, slot, 0)


def condemned(pages: mmap.mmap, slot: int) -> int:
    """Return the number of the run whose worker is about to be killed, 0 if none is."""
    number: int = _condemned.unpack(pages[_condemned_place(slot)])[0]
    return number


def condemn(pages: mmap.mmap, slot: int, number: int) -> None:
    """Mark a run whose worker is about to be killed, or remove the mark: eight aligned bytes."""
    pages[_condemned_place(slot)] = _condemned.pack(number)


def read(pages: mmap.mmap, slot: int) -> Page:
    """Return what the worker of a slot runs."""
    place = place_of(slot)
    for _ in range(READ_TRIES):
        seen = pages[place]
        first, task_id, since, busy, last = _page.unpack(seen)
        if first == last and seen == pages[place]:
            return Page(first // 2, task_id, since, busy)
        time.sleep(0)  # the writer was in the middle of it
    return Page(0, 0, 0.0, 0.0)  # it died there: what it began is not known


def task_ids(pages: mmap.mmap) -> list[int]:
    """Return the id of the task that each slot's page shows, 0 for none."""
    return [read(pages, slot).task_id for slot in range(len(pages) // PAGE_BYTES)]


def lease_end(pages: mmap.mmap) -> float:
    """Return until when the lease is valid, by the clock of ``boot_clock``; 0.0 before the first one."""
    moment: float = _lease_end.unpack(pages[_lease_end_place(pages)])[0]
    return moment


def set_lease_end(pages: mmap.mmap, until: float) -> None:
    """Write until when the lease is valid: eight aligned bytes, which nobody sees half written."""
    pages[_lease_end_place(pages)] = _lease_end.pack(until)


def epoch(pages: mmap.mmap) -> int:
    """Return how often the lease was lost."""
    number: int = _epoch.unpack(pages[_epoch_place(pages)])[0]
    return number


def set_epoch(pages: mmap.mmap, number: int) -> None:
    """Write how often the lease was lost; before the end of the next one, so that nobody sees only that."""
    pages[_epoch_place(pages)] = _epoch.pack(number)


def _condemned_place(slot: int) -> slice:
    start = slot * PAGE_BYTES + _CONDEMNED_AT
    return slice(start, start + _condemned.size)


def _epoch_place(pages: mmap.mmap) -> slice:
    start = len(pages) - PAGE_BYTES + _EPOCH_AT
    return slice(start, start + _epoch.size)


def _lease_end_place(pages: mmap.mmap) -> slice:
    start = len(pages) - PAGE_BYTES + _LEASE_END_AT
    return slice(start, start + _lease_end.size)
