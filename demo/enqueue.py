"""Enqueue the tasks of the demo."""

import time
from pathlib import Path
from typing import NamedTuple

from demo import library
from demo.partisan_tasks import ImportPackage, IndexFile, WriteReport
from django_partisan.processor import bulk_delay

BROKEN = "def this is not Python:\n    pass\n"


class Enqueued(NamedTuple):
    """The ids of the new tasks, and how long it took to enqueue them."""

    ids: list[int]
    seconds: float


def everything(files: int | None, output: Path) -> Enqueued:
    """Enqueue a task for each file and package, for a broken file and for the report."""
    broken = output / "broken.py"
    broken.write_text(BROKEN, encoding="utf-8")
    paths = library.python_files(files)
    packages = sorted({library.package_of(path) for path in paths})

    started = time.monotonic()
    # One statement for all files, and one for each other task.
    ids = bulk_delay(
        [ImportPackage(name=package) for package in packages] + [IndexFile(path=path) for path in paths]
    )
    ids.append(IndexFile(path=str(broken)).delay().pk)
    ids.append(WriteReport().delay().pk)
    return Enqueued(ids, time.monotonic() - started)
