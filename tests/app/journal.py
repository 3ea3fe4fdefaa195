"""Who ran what, when, and in which process: lines appended to a file in the folder of the test.

Appending one short line is atomic, so any number of processes may write, and none can be killed in
the middle of a line. The same folder holds the gates at which a task waits until its test lets it go on.
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
    """Write that a run begins, and that it ends, however it does."""
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
