"""Read and write the pages of a presence file: what each worker runs, and when the manager's lease ends.

Each slot has a page that its worker writes. The manager writes the last page, and a mark after each slot's
page. No locks are needed: a reader detects a page that is being written.
"""

import mmap
import struct
import time
from typing import Final, NamedTuple

PAGE_BYTES: Final = 64
READ_TRIES: Final = 100
# A sequence number that every write changes, the id of the running task (0: none), the monotonic time at
# which it began (or the worker became idle), the seconds busy before that, and the sequence number again. The
# number is twice the number of runs begun, plus one while nothing runs.
_page = struct.Struct("=QqddQ")
# The last page has the end of the lease and its epoch in place of ``since`` and the busy seconds, then the
# mark and the database. Earlier versions read it as a slot that runs nothing.
# After a slot's page the manager writes the number of a run whose worker it is about to kill.
_condemned = struct.Struct("=Q")
_CONDEMNED_AT: Final = _page.size
_lease_end = struct.Struct("=d")
_epoch = struct.Struct("=Q")
_LEASE_END_AT: Final = 16
_EPOCH_AT: Final = 24
_MARK: Final = b"bytelock"
"""Shows that each process that uses the file locks a byte."""
DATABASE_BYTES: Final = PAGE_BYTES - _page.size - len(_MARK)
NO_DATABASE: Final = bytes(DATABASE_BYTES)
"""The value that earlier versions wrote."""


class Page(NamedTuple):
    """The content of a worker's page. ``task_id`` is 0 while nothing runs; times are monotonic seconds."""

    begun: int
    task_id: int
    since: float
    busy_seconds: float


def blank(slots: int, database: bytes = NO_DATABASE) -> bytes:
    """Return the content of a new file; it ends with the identity of the manager's database."""
    return bytes(slots * PAGE_BYTES + _page.size) + _MARK + database


def has_byte_locks(pages: mmap.mmap) -> bool:
    """Return whether each process that uses the file locks a byte; earlier versions do not."""
    mark_at = len(pages) - PAGE_BYTES + _page.size
    return pages[mark_at : mark_at + len(_MARK)] == _MARK


def place_of(slot: int) -> slice:
    """Return the position of a slot's page."""
    start = slot * PAGE_BYTES
    return slice(start, start + _page.size)


pack: Final = _page.pack
"""Pack a page from its number, task id, since, busy seconds, and the number again."""


def clear(pages: mmap.mmap, slot: int) -> None:
    """Clear a slot's page and its mark."""
    pages[place_of(slot)] = bytes(_page.size)
    condemn(pages, slot, 0)


def condemned(pages: mmap.mmap, slot: int) -> int:
    """Return the number of the run whose worker is about to be killed, or 0."""
    number: int = _condemned.unpack(pages[_condemned_place(slot)])[0]
    return number


def condemn(pages: mmap.mmap, slot: int, number: int) -> None:
    """Mark a run whose worker is about to be killed; 0 removes the mark. Writes eight aligned bytes."""
    pages[_condemned_place(slot)] = _condemned.pack(number)


def read(pages: mmap.mmap, slot: int) -> Page:
    """Return the page of a slot's worker."""
    place = place_of(slot)
    for _ in range(READ_TRIES):
        seen = pages[place]
        first, task_id, since, busy, last = _page.unpack(seen)
        if first == last and seen == pages[place]:
            return Page(first // 2, task_id, since, busy)
        time.sleep(0)  # the page was being written
    return Page(0, 0, 0.0, 0.0)  # the writer died during the write: the task it had begun is unknown


def task_ids(pages: mmap.mmap) -> list[int]:
    """Return the task id on each slot's page, 0 for none."""
    return [read(pages, slot).task_id for slot in range(len(pages) // PAGE_BYTES)]


def lease_end(pages: mmap.mmap) -> float:
    """Return when the lease ends, by ``boot_clock``; 0.0 before the first lease."""
    moment: float = _lease_end.unpack(pages[_lease_end_place(pages)])[0]
    return moment


def set_lease_end(pages: mmap.mmap, until: float) -> None:
    """Write when the lease ends: eight aligned bytes, which no reader sees half written."""
    pages[_lease_end_place(pages)] = _lease_end.pack(until)


def epoch(pages: mmap.mmap) -> int:
    """Return how many times the lease was lost."""
    number: int = _epoch.unpack(pages[_epoch_place(pages)])[0]
    return number


def set_epoch(pages: mmap.mmap, number: int) -> None:
    """Write how many times the lease was lost, before the new lease end, which must not be seen first."""
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
