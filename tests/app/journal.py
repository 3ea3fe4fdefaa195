"""A record of which task ran when and in which process: lines appended to a file in the test's folder.

Appending one short line is atomic, so any number of processes may write, and a killed process leaves no
partial line. The same folder holds the gates: a task waits at a gate until its test opens it.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django_partisan.processor import BaseTaskProcessor

FOLDER = "TEST_FOLDER"
NAME = "journal"
_POLL_SECONDS = 0.005


def write(what: str, **more: Any) -> None:
    """Append a line."""
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.monotonic(), **more}) + "\n"
    fd = os.open(_folder() / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


@contextmanager
def recorded(processor: BaseTaskProcessor) -> Iterator[None]:
    """Record the start of a run, and its end, however it ends."""
    name, task = type(processor).__name__, processor.task
    write("begun", processor=name, id=task.id, attempt=task.attempt, args=processor.args)
    try:
        yield
    finally:
        write("ended", processor=name, id=task.id)


def wait_at(gate: str) -> None:
    """Wait until the test opens a gate."""
    path = _folder() / gate
    while not path.exists():
        time.sleep(_POLL_SECONDS)


def _folder() -> Path:
    return Path(os.environ[FOLDER])
