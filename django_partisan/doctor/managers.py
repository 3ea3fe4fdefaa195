"""Does a manager serve the queue?"""

from collections.abc import Iterator
from typing import Final

from django.db import connections

from django_partisan.doctor.finding import FINE, WARNING, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.sql.backlog import waiting
from django_partisan.sql.connection import fetch_all, task_database

_ALIVE: Final = """
    SELECT host, pid FROM django_partisan_manager
     WHERE queue_name = %s AND heartbeat_at > now() - lease_seconds * interval '1 second'
     ORDER BY host, pid
"""


def look(subject: Subject) -> Iterator[Finding]:
    """Look for managers whose lease has not expired."""
    connection = connections[task_database()]
    alive = fetch_all(connection, _ALIVE, (subject.queue,))
    tasks = waiting(connection, subject.queue).number
    wait = f"{tasks} tasks wait" if tasks != 1 else "1 task waits"
    if alive:
        listed = ", ".join(f"{host}:{pid}" for host, pid in alive)
        yield Finding(FINE, f"The queue {subject.queue!r} is served by {listed}; {wait}.")
    else:
        yield Finding(
            WARNING,
            f"No manager serves the queue {subject.queue!r}; {wait}.",
            f"Run: manage.py start_partisan --queue-name {subject.queue}",
        )
