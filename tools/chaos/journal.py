"""The journal of all runs and enqueued tasks: one file per process, outside the database.

A line is one `write()` to a file opened for appending, so a process that is killed at any time leaves only
complete lines. Times are from the clock that also runs while the machine sleeps and is the same for all
processes of a machine.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = "CHAOS_FOLDER"
SUFFIX = ".journal"

_open: dict[int, int] = {}
"""The file descriptor by process id. A forked child has another id and opens its own file."""


def now() -> float:
    """Return the seconds since the machine started, including those in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def write(what: str, **more: Any) -> None:
    """Append a line to the file of this process, in the folder from the environment."""
    pid = os.getpid()
    if pid not in _open:
        path = Path(os.environ[FOLDER]) / f"{socket.gethostname()}-{pid}{SUFFIX}"
        _open[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    line = json.dumps({"what": what, "at": now(), "pid": pid, **more})
    os.write(_open[pid], f"{line}\n".encode())


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of all processes, ordered by time."""
    lines = [line for path in folder.glob(f"*{SUFFIX}") for line in _lines_of(path)]
    return sorted(lines, key=lambda line: float(line["at"]))


def _lines_of(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text().splitlines(keepends=True):
        if text.endswith("\n"):  # a full disk could truncate the last one
            yield json.loads(text)
