"""Check whether tasks are held because no manager has their processor registered."""

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Final

from django.db import connections

from django_partisan import registry
from django_partisan.config import queues
from django_partisan.doctor.finding import FINE, WARNING, Finding, Subject
from django_partisan.outcomes import REASON_UNREGISTERED
from django_partisan.sql.connection import fetch_all, task_database

_HELD: Final = f"""
    SELECT processor_class, count(*), min(unregistered_since) FROM django_partisan_task
     WHERE queue_name = %s AND held = '{REASON_UNREGISTERED}' AND status = 'new'
     GROUP BY processor_class ORDER BY processor_class
"""


def check(subject: Subject) -> Iterator[Finding]:
    """Count held tasks by processor, and report whether this host's code could run them."""
    rows = fetch_all(connections[task_database()], _HELD, (subject.queue,))
    if not rows:
        yield Finding(FINE, f"No task of the queue {subject.queue!r} is held.")
    grace_seconds = queues.queue_value(subject.queue, "UNREGISTERED_GRACE_SECONDS")
    for processor, number, since in rows:
        yield _judge(processor, number, since, grace_seconds)


def _judge(processor: str, number: int, since: datetime, grace_seconds: float) -> Finding:
    tasks = f"1 task of {processor} has been" if number == 1 else f"{number} tasks of {processor} have been"
    moment = since.astimezone(timezone.utc)
    if processor in registry.definitions:
        where = "It is registered on this host."
        remedy = "Restart the managers with the code of this host"
    else:
        where = "It is not registered on this host either."
        remedy = f"Deploy managers whose code registers {processor}"
    return Finding(
        WARNING,
        f"{tasks} held since {moment:%Y-%m-%d %H:%M} UTC: no manager has registered the processor. {where}",
        f"{remedy}; the tasks fail after {grace_seconds:g} s (UNREGISTERED_GRACE_SECONDS).",
    )
