"""CPU seconds and memory of process trees, from Linux' /proc."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Process:
    """One line of /proc: the parent, and the CPU ticks of the process and of the children it has reaped."""

    parent: int
    ticks: int


@dataclass(frozen=True)
class Memory:
    """MiB of a tree: as the sum of its processes sees it, and with shared pages counted once."""

    resident: float
    proportional: float
    processes: int


def tree(roots: Iterable[int]) -> dict[int, Process]:
    """Return the processes below the roots, with the roots."""
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
    """Return the CPU time that the trees have used since they started."""
    return sum(process.ticks for process in tree(roots).values()) / TICKS


def machine_cpu_seconds() -> float:
    """Return the CPU time that anybody has used since the machine started, stolen time included."""
    user, nice, system, _idle, _waiting, *rest = (int(x) for x in (PROC / "stat").read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS


def memory(roots: Iterable[int]) -> Memory:
    """Return the memory of the trees at this moment."""
    resident = proportional = count = 0
    for pid in tree(roots):
        try:
            lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except (OSError, ValueError):
            continue  # it ended in between
        fields = {line.split()[0]: line.split()[1] for line in lines[1:]}
        resident += int(fields.get("Rss:", 0))
        proportional += int(fields.get("Pss:", 0))
        count += 1
    return Memory(resident / KIB_PER_MIB, proportional / KIB_PER_MIB, count)


def _read(path: Path) -> Process | None:
    try:
        text = (path / "stat").read_text()
    except OSError:
        return None  # it ended in between
    fields = text[text.rindex(")") + 2 :].split()
    return Process(parent=int(fields[1]), ticks=sum(int(field) for field in fields[11:15]))
