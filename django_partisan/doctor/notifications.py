"""Does a notification arrive, or does a pooler between us and PostgreSQL swallow it?"""

import select
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config import queues
from django_partisan.doctor.finding import FINE, WARNING, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.listening import queues_notified

NAME: Final = "notifications"
WAIT_SECONDS: Final = 2.0
CHANNEL_OF_DOCTOR: Final = f"{CHANNEL}_doctor"
"""Not the managers' own: they would take what comes there for the name of a queue."""


def look(subject: Subject) -> Iterator[Finding]:
    """Send a notification to ourselves, over a connection like the managers'."""
    listens = queues.queue_value(subject.queue, "LISTEN")
    with closing(open_connection("doctor")) as listener, closing(open_connection("doctor")) as sender:
        execute(listener, f"LISTEN {CHANNEL_OF_DOCTOR}")
        pooled = is_pooled(listener)
        word = uuid.uuid4().hex
        execute(sender, "SELECT pg_notify(%s, %s)", (CHANNEL_OF_DOCTOR, word))
        arrived = hears(listener, word, WAIT_SECONDS)
        without_cursors = listener.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS", False)
    if arrived:
        yield _arrived(pooled, listens)
        return
    yield _lost(subject.queue, pooled, listens)
    if pooled and not without_cursors:
        yield Finding(
            NAME,
            WARNING,
            "A pooler in transaction mode loses the cursors of QuerySet.iterator().",
            "Set DISABLE_SERVER_SIDE_CURSORS to True in DATABASES.",
        )


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether something stands between: a pooler gives a process id of its own making."""
    raw: Any = connection.connection
    return bool(raw.info.backend_pid != fetch_all(connection, "SELECT pg_backend_pid()")[0][0])


def hears(connection: BaseDatabaseWrapper, word: str, seconds: float) -> bool:
    """Wait for a notification that carries ``word``."""
    raw: Any = connection.connection
    deadline = time.monotonic() + seconds
    while word not in queues_notified(connection):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        select.select([raw.fileno()], [], [], left)
    return True


def _arrived(pooled: bool, listens: bool) -> Finding:
    through = ", through a pooler in session mode" if pooled else ""
    off = "" if listens else "; LISTEN is False, so nobody waits for it"
    return Finding(NAME, FINE, f"A notification arrives{through}{off}.")


def _lost(queue: str, pooled: bool, listens: bool) -> Finding:
    delay = queues.queue_value(queue, "SLEEP_DELAY_SECONDS")
    why = "a pooler in transaction mode stands between" if pooled else "something swallows it"
    message = f"No notification arrives within {WAIT_SECONDS:g} s: {why}"
    if not listens:
        return Finding(
            NAME, FINE, f"{message}. LISTEN is False, as it should be; managers look every {delay} s."
        )
    return Finding(
        NAME,
        WARNING,
        f"{message}. No task is lost, but one may wait for {delay} s (SLEEP_DELAY_SECONDS).",
        "Give managers a connection past the pooler, or set LISTEN to False for this queue.",
    )
