"""Read the memory limit of this host or control group, and the memory in use."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """The memory that may be used, and the memory in use without what the kernel can reclaim, in bytes."""

    limit: int
    used: int


def memory(root: Path = Path("/")) -> Memory | None:
    """Return the memory of the host, our control group or a parent group, whichever has the least left.

    Returns ``None`` if it is not known. ``root`` contains ``proc`` and ``sys``. Reads control groups of
    version 2 as ``cgroups(7)`` describes them, and the limit that a container sees in version 1.
    """
    # Not the lowest limit: a parent group may be nearly full with the memory of other processes.
    return min([*_host_memory(root), *_group_memories(root)], key=_available, default=None)


def _available(found: Memory) -> int:
    return found.limit - found.used


def _host_memory(root: Path) -> Iterator[Memory]:
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE))
    if "MemTotal" in found and "MemAvailable" in found:
        total, available = int(found["MemTotal"]) * 1024, int(found["MemAvailable"]) * 1024
        yield Memory(total, total - available)


def _group_memories(root: Path) -> Iterator[Memory]:
    top = root / "sys/fs/cgroup"
    ours = re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    group = top / (ours[1] if ours else "")
    for folder in (group, *group.parents):
        if folder.is_relative_to(top):
            yield from _group_memory(folder, "memory.max", "memory.current", "inactive_file")
    yield from _group_memory(
        top / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    )


def _group_memory(folder: Path, limit: str, usage: str, droppable: str) -> Iterator[Memory]:
    most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if most.isdecimal() and used.isdecimal():  # version 2 has "max" if there is no limit
        cache = re.search(rf"^{droppable} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
        yield Memory(int(most), max(int(used) - (int(cache[1]) if cache else 0), 0))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # this is not Linux, or the group has been removed
        return ""
