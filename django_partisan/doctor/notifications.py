"""Check whether notifications arrive, or a connection pooler drops them."""

import select
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config import queues
from django_partisan.doctor.finding import FINE, WARNING, Finding, Subject
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.listening import Listener

WAIT_SECONDS: Final = 2.0
# Not the managers' channel: they would read the payload as the name of a queue.
CHANNEL_OF_DOCTOR: Final = f"{CHANNEL}_doctor"


def check(subject: Subject) -> Iterator[Finding]:
    """Send a notification, and receive it over a connection like those of managers."""
    with closing(open_connection("doctor")) as listener, closing(open_connection("doctor")) as sender:
        own = Listener(listener, CHANNEL_OF_DOCTOR)
        pooled = _is_pooled(listener)
        payload = uuid.uuid4().hex
        execute(sender, "SELECT pg_notify(%s, %s)", (CHANNEL_OF_DOCTOR, payload))
        without_cursors = listener.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS", False)
        arrived = is_received(own, payload, WAIT_SECONDS)
    yield from judge(subject.queue, arrived, pooled, without_cursors)


def is_received(listener: Listener, payload: str, seconds: float) -> bool:
    """Wait until a notification with ``payload`` arrives; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while payload not in listener.take().get(CHANNEL_OF_DOCTOR, ()):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        select.select([listener.fd], [], [], left)
    return True


def judge(queue: str, arrived: bool, pooled: bool, without_cursors: bool) -> Iterator[Finding]:
    """Yield the findings for a queue, from whether a notification arrived, through a pooler or not."""
    listens = queues.queue_value(queue, "LISTEN")
    if arrived:
        through = ", through a pooler in session mode" if pooled else ""
        unused = "" if listens else "; LISTEN is False, so no manager waits for it"
        yield Finding(FINE, f"A notification arrives{through}{unused}.")
        return
    delay = queues.queue_value(queue, "SLEEP_DELAY_SECONDS")
    why = "the connection goes through a pooler in transaction mode" if pooled else "the reason is unknown"
    message = f"No notification arrives within {WAIT_SECONDS:g} s: {why}"
    if listens:
        yield Finding(
            WARNING,
            f"{message}. No task is lost, but one may wait for {delay} s (SLEEP_DELAY_SECONDS).",
            "Connect managers to PostgreSQL without the pooler, or set LISTEN to False for this queue.",
        )
    else:
        yield Finding(FINE, f"{message}. LISTEN is False, as it should be; managers poll every {delay} s.")
    if pooled and not without_cursors:
        yield Finding(
            WARNING,
            "A pooler in transaction mode loses the cursors of QuerySet.iterator().",
            "Set DISABLE_SERVER_SIDE_CURSORS to True in DATABASES.",
        )


def _is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the connection goes through a pooler, which reports its own process id."""
    raw: Any = connection.connection
    return bool(raw.info.backend_pid != fetch_all(connection, "SELECT pg_backend_pid()")[0][0])
