"""Check whether the queue is paused."""

from collections.abc import Iterator

from django.db import connections

from django_partisan.admin_formatting import moment
from django_partisan.doctor.finding import FINE, WARNING, Finding, Subject
from django_partisan.sql.connection import task_database
from django_partisan.sql.pausing import paused


def check(subject: Subject) -> Iterator[Finding]:
    """Report a pause of the queue: since when, until when, by whom and why."""
    found = [one for one in paused(connections[task_database()]) if one.queue_name == subject.queue]
    if not found:
        yield Finding(FINE, f"The queue {subject.queue!r} is not paused.")
    for _, paused_at, until, comment, by in found:
        since = f" since {moment(paused_at)}" if paused_at else ""
        end = f" until {moment(until)}" if until else ""
        who = f" by {by}" if by else ""
        why = f": {comment}" if comment else ""
        yield Finding(
            WARNING,
            f"The queue {subject.queue!r} is paused{since}{end}{who}{why}. None of its tasks starts.",
            f"If the pause is no longer needed, run: manage.py partisan_resume --queue-name {subject.queue}",
        )
