"""How much memory the processes of this host, or of this control group, may use."""

import re
from collections.abc import Iterator
from pathlib import Path


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the least of the host's memory and the limits of our control groups, in bytes.

    Returns ``None`` where it is not known; ``root`` holds ``proc`` and ``sys``. Reads control groups of
    version 2 as ``cgroups(7)`` has them, and the limit that a container sees in version 1.
    """
    return min([*_of_host(root), *_of_groups(root)], default=None)


def _of_host(root: Path) -> Iterator[int]:
    found = re.search(r"^MemTotal:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    if found:
        yield int(found[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    top = root / "sys/fs/cgroup"
    ours = re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    group = top / (ours[1] if ours else "")
    files = [folder / "memory.max" for folder in (group, *group.parents) if folder.is_relative_to(top)]
    for file in (*files, top / "memory/memory.limit_in_bytes"):
        text = _text(file).strip()
        if text.isdecimal():  # version 2 says "max" where there is no limit
            yield int(text)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # this is no Linux, or the group has been removed
        return ""
