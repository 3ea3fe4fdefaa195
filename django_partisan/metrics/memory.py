"""How much memory this host, or our control group, allows, and how much of it is in use."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """Memory that may be used, and that is in use without what the kernel can drop, in bytes."""

    limit: int
    used: int


def memory(root: Path = Path("/")) -> Memory | None:
    """Return the memory of the host, of our control group or of one above it: of the one with the least left.

    Returns ``None`` where it is not known; ``root`` holds ``proc`` and ``sys``. Reads control groups of
    version 2 as ``cgroups(7)`` has them, and the limit that a container sees in version 1.
    """
    # The least limit would not do: a group above ours may be nearly full with the memory of others.
    return min([*_of_host(root), *_of_groups(root)], key=_left, default=None)


def _left(found: Memory) -> int:
    return found.limit - found.used


def _of_host(root: Path) -> Iterator[Memory]:
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE))
    if "MemTotal" in found and "MemAvailable" in found:
        total, available = int(found["MemTotal"]) * 1024, int(found["MemAvailable"]) * 1024
        yield Memory(total, total - available)


def _of_groups(root: Path) -> Iterator[Memory]:
    top = root / "sys/fs/cgroup"
    ours = re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    group = top / (ours[1] if ours else "")
    for folder in (group, *group.parents):
        if folder.is_relative_to(top):
            yield from _of_group(folder, "memory.max", "memory.current", "inactive_file")
    yield from _of_group(
        top / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    )


def _of_group(folder: Path, limit: str, usage: str, droppable: str) -> Iterator[Memory]:
    most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if most.isdecimal() and used.isdecimal():  # version 2 says "max" where there is no limit
        cache = re.search(rf"^{droppable} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
        yield Memory(int(most), max(int(used) - (int(cache[1]) if cache else 0), 0))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # this is no Linux, or the group has been removed
        return ""
