"""Record the runs of a benchmark's tasks, in about half a microsecond each.

Each worker process maps one small file (the number of bodies, the first, the last), which the runner reads
during the work. If the folder has a file `seen`, its byte number i counts the runs of task i, to detect lost
and repeated tasks. Times are from the monotonic clock, which all processes of a machine share.
"""

import mmap
import os
import struct
import time
from pathlib import Path
from typing import BinaryIO

FOLDER = "PARTISAN_BENCH_RECORDS"
"""The environment variable with the folder of the records."""

SLOT = struct.Struct("ddd")
LATENCY = struct.Struct("dd")

MODE_NOTHING = 0
MODE_LATENCY = 1
MODE_SLEEP = 2

SLEEP_SECONDS = 0.005


class Recorder:
    """The records of this process, created at its first task, so that a fork never shares them."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self.first = time.monotonic()
        with open(folder / f"{os.getpid()}.slot", "w+b") as file:
            file.write(bytes(SLOT.size))
            file.flush()
            self.slot = mmap.mmap(file.fileno(), SLOT.size)
        self.seen: mmap.mmap | bytearray = bytearray()
        if (folder / "seen").exists():
            with open(folder / "seen", "r+b") as file:
                self.seen = mmap.mmap(file.fileno(), 0)
        self._folder = folder
        self._latencies: BinaryIO | None = None

    def note_latency(self, task: int, started: float) -> None:
        """Record when a task started."""
        if self._latencies is None:
            self._latencies = open(self._folder / f"{os.getpid()}.latency", "ab", 0)  # noqa: SIM115
        self._latencies.write(LATENCY.pack(task, started))


_own: Recorder | None = None


def hit(i: int, m: int) -> None:
    """Run as the body of task number `i` in mode `m`; tasks with negative numbers are not tracked."""
    global _own
    now = time.monotonic()
    own = _own
    if own is None:
        own = _own = Recorder(Path(os.environ[FOLDER]))
        own.first = now
    if m == MODE_LATENCY:
        own.note_latency(i, now)
    elif m == MODE_SLEEP:
        time.sleep(SLEEP_SECONDS)
        now = time.monotonic()
    if 0 <= i < len(own.seen):
        own.seen[i] = min(255, own.seen[i] + 1)
    own.count += 1
    SLOT.pack_into(own.slot, 0, own.count, own.first, now)


def _forget() -> None:
    global _own
    _own = None


os.register_at_fork(after_in_child=_forget)
