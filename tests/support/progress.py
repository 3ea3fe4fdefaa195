"""How far processes have come, for deadlines that a busy machine does not break.

A process that gets little of the machine comes forward slowly, and one that hangs does not at all. The
time of the processor that it and its descendants used tells them apart on any machine.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Used in less than a sixtieth of a deadline's time, the processor only turned an idle loop.
IDLE_SHARE = 1 / 60


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the seconds of the processor that processes, and the children they waited for, have used."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile, or there is no /proc
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def progress_of(pids: Callable[[], Iterable[int]], seconds: float) -> Callable[[], object]:
    """Return what ``wait_until()`` takes as ``progress`` for processes, and a deadline of ``seconds``."""
    return lambda: int(cpu_seconds(pids()) / (seconds * IDLE_SHARE))


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        parents.setdefault(int(parent), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    yield from found
