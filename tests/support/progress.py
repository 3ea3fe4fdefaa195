"""The progress of processes, for deadlines that hold on a busy machine.

On a busy machine a process progresses slowly; a process that hangs makes no progress at all. The CPU time
of the process and its descendants distinguishes the two on any machine.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Below a sixtieth of the deadline, CPU time comes only from an idle loop.
IDLE_SHARE = 1 / 60


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds that processes, and the children that they waited for, have used."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has ended, or there is no /proc
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def progress_of(pids: Callable[[], Iterable[int]], seconds: float) -> Callable[[], object]:
    """Return the ``progress`` argument of ``wait_until()`` for processes and a deadline of ``seconds``."""
    return lambda: int(cpu_seconds(pids()) / (seconds * IDLE_SHARE))


def descendants(pid: int) -> Iterator[int]:
    """Yield the ids of a process and all its descendants."""
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
