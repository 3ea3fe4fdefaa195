"""What each worker process uses, and counters that outlive the workers of a slot."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from django_partisan.telemetry.events import WorkerSeen

PROC: Final = Path("/proc")
# Fields of /proc/<pid>/stat after the name in brackets, counted from 0.
_USER_TIME: Final = 11
_SYSTEM_TIME: Final = 12
_RESIDENT_PAGES: Final = 21

Incarnation: TypeAlias = tuple[int, int]
"""A slot and a generation: one worker process."""


class Usage(NamedTuple):
    """Processor time so far, in seconds, and resident memory now, in bytes."""

    cpu_seconds: float
    resident_bytes: int


class SlotCounter:
    """Sum a figure that grows in each worker process, so that the slot's total never goes down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: dict[int, float] = {}
        self._running: dict[Incarnation, float] = {}

    def update(self, seen: Mapping[Incarnation, float | None]) -> dict[int, float]:
        """Take the figures of all live workers (``None``: not to be had); return totals by slot."""
        with self._lock:
            for incarnation in self._running.keys() - seen.keys():
                slot = incarnation[0]
                self._ended[slot] = self._ended.get(slot, 0) + self._running.pop(incarnation)
            for incarnation, value in seen.items():
                last = self._running.get(incarnation)
                if value is not None and (last is None or value > last):
                    self._running[incarnation] = value
            totals = dict(self._ended)
            for (slot, _), value in self._running.items():
                totals[slot] = totals.get(slot, 0) + value
            return dict(sorted(totals.items()))


class Resources:
    """Read what workers use, by their process ids."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._cpu = SlotCounter()

    def read(self, workers: tuple[WorkerSeen, ...]) -> tuple[dict[int, float], dict[int, int]]:
        """Return processor seconds and resident bytes by slot; nothing where there is no /proc."""
        usages = {(worker.slot, worker.generation): self.usage(worker.pid) for worker in workers}
        cpu = self._cpu.update({who: usage and usage.cpu_seconds for who, usage in usages.items()})
        resident: dict[int, int] = {}
        for (slot, _), usage in usages.items():
            if usage is not None:
                resident[slot] = resident.get(slot, 0) + usage.resident_bytes
        return cpu, resident

    def usage(self, pid: int) -> Usage | None:
        """Return what a process uses; ``None`` if it is gone. Source: proc(5)."""
        try:
            text = (self._proc / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        ticks = int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
        return Usage(ticks / self._ticks, int(fields[_RESIDENT_PAGES]) * self._page)
