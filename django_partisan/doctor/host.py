"""Can a manager start its workers on this host, and show who is alive?"""

import multiprocessing
import sys
import uuid
from collections.abc import Iterator
from typing import Final

from django_partisan.config import queues
from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.engine.forkserver.spawner import METHOD
from django_partisan.engine.presence import PresenceFile
from django_partisan.exceptions import CannotStart

NAME: Final = "host"


def look(subject: Subject) -> Iterator[Finding]:
    """Look at the start method, the number of workers and the presence folder."""
    yield _start_method()
    yield _workers(subject.queue)
    yield _presence()


def _start_method() -> Finding:
    if METHOD in multiprocessing.get_all_start_methods():
        return Finding(NAME, FINE, f"Workers start by {METHOD} on Python {sys.version.split()[0]}.")
    return Finding(
        NAME,
        ERROR,
        f"This platform ({sys.platform}) cannot start processes by {METHOD}.",
        "Run managers on Linux or macOS.",
    )


def _workers(queue: str) -> Finding:
    workers, cores = queues.queue_value(queue, "WORKERS_COUNT"), queues.usable_cores()
    message = f"{workers} workers on {cores} usable cores."
    if workers <= 16 * cores:
        return Finding(NAME, FINE, message)
    return Finding(NAME, WARNING, message, "Lower WORKERS_COUNT, unless nearly all tasks wait for others.")


def _presence() -> Finding:
    try:
        file = PresenceFile(uuid.uuid4(), slots=1)
    except (CannotStart, OSError) as error:
        return Finding(
            NAME, ERROR, f"The file that shows who is alive cannot be made: {error}",
            "Set TMPDIR to a local folder that this user can write and lock files in.",
        )  # fmt: skip
    folder = file.path.parent
    file.remove()
    return Finding(NAME, FINE, f"Files that show who is alive can be made and locked in {folder}.")
