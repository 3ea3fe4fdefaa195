"""CPU seconds and memory of process trees, from /proc on Linux."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Process:
    """A process in /proc: its parent, and the CPU ticks of the process and of its reaped children."""

    parent: int
    ticks: int


@dataclass(frozen=True)
class Memory:
    """The memory of a tree in MiB: the sum over its processes, and with shared pages counted once."""

    resident: float
    proportional: float
    processes: int


def tree(roots: Iterable[int]) -> dict[int, Process]:
    """Return the roots and all processes below them."""
    everything = {
        int(path.name): process for path in PROC.iterdir() if path.name.isdigit() if (process := _read(path))
    }
    children: dict[int, list[int]] = {}
    for pid, process in everything.items():
        children.setdefault(process.parent, []).append(pid)
    found: dict[int, Process] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in everything and pid not in found:
            found[pid] = everything[pid]
            waiting.extend(children.get(pid, ()))
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU time that the trees have used since they started, in seconds."""
    return sum(process.ticks for process in tree(roots).values()) / TICKS


def machine_cpu_seconds() -> float:
    """Return the CPU seconds used on this machine since it started, including stolen time."""
    user, nice, system, _idle, _waiting, *rest = (int(x) for x in (PROC / "stat").read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS


def memory(roots: Iterable[int]) -> Memory:
    """Return the current memory of the trees."""
    resident = proportional = count = 0
    for pid in tree(roots):
        try:
            lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except (OSError, ValueError):
            continue  # it has ended
        fields = {line.split()[0]: line.split()[1] for line in lines[1:]}
        resident += int(fields.get("Rss:", 0))
        proportional += int(fields.get("Pss:", 0))
        count += 1
    return Memory(resident / KIB_PER_MIB, proportional / KIB_PER_MIB, count)


def _read(path: Path) -> Process | None:
    try:
        text = (path / "stat").read_text()
    except OSError:
        return None  # it has ended
    fields = text[text.rindex(")") + 2 :].split()
    return Process(parent=int(fields[1]), ticks=sum(int(field) for field in fields[11:15]))
