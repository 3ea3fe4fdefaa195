"""Check whether a manager can start its workers on this host, and lock its presence file."""

import multiprocessing
import sys
import uuid
from collections.abc import Iterator

from django_partisan.config import queue_keys, queues
from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding, Subject
from django_partisan.engine.forkserver.spawner import METHOD
from django_partisan.engine.presence import PresenceFile
from django_partisan.exceptions import CannotStart

WORKERS_PER_CORE_MAX = 16


def check(subject: Subject) -> Iterator[Finding]:
    """Check the start method, the number of workers and the presence folder."""
    if METHOD in multiprocessing.get_all_start_methods():
        yield Finding(FINE, f"Workers start with {METHOD} on Python {sys.version.split()[0]}.")
    else:
        yield Finding(
            ERROR,
            f"This platform ({sys.platform}) cannot start processes with {METHOD}.",
            "Run managers on Linux or macOS.",
        )
    workers, cores = queues.queue_value(subject.queue, "WORKERS_COUNT"), queue_keys.usable_cores()
    message = f"{workers} workers on {cores} usable cores."
    if workers <= WORKERS_PER_CORE_MAX * cores:
        yield Finding(FINE, message)
    else:
        yield Finding(
            WARNING, message, "Lower WORKERS_COUNT, unless nearly all tasks wait for other systems."
        )
    yield _presence()


def _presence() -> Finding:
    try:
        file = PresenceFile(uuid.uuid4(), slots=1)
    except (CannotStart, OSError) as error:
        return Finding(
            ERROR,
            f"The presence file of a manager cannot be created: {error}",
            "Set TMPDIR to a local folder in which this user can write and lock files.",
        )
    file.remove()
    return Finding(FINE, f"Presence files can be created and locked in {file.path.parent}.")
