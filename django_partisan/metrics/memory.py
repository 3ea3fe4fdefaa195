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
    known = [*_host_memory(root), *_group_memories(root)]
    return min(known, key=lambda found: found.limit - found.used, default=None)


def sizes_in(file: Path) -> dict[str, int]:
    """Return the sizes in a file of ``/proc`` by name, in bytes; empty if the file cannot be read."""
    return {
        name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", _text(file), re.MULTILINE)
    }


def _host_memory(root: Path) -> Iterator[Memory]:
    sizes = sizes_in(root / "proc/meminfo")
    if "MemTotal" in sizes and "MemAvailable" in sizes:
        yield Memory(sizes["MemTotal"], sizes["MemTotal"] - sizes["MemAvailable"])


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
    except OSError:  # this is not Linux, or the group or process has gone
        return ""
