"""Check the settings and the processors."""

from collections.abc import Iterator

from django.core.checks import ERROR as ERROR_LEVEL
from django.core.checks import run_checks

from django_partisan.checks import TAG
from django_partisan.config import queues
from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding, Subject
from django_partisan.exceptions import PartisanError


def check(subject: Subject) -> Iterator[Finding]:
    """Run the system checks of this application, and check that the queue is defined."""
    messages = [message for message in run_checks(tags=[TAG]) if not message.is_silenced()]
    for message in messages:
        status = ERROR if message.level >= ERROR_LEVEL else WARNING
        yield Finding(status, f"{message.msg} ({message.id})", message.hint or "")
    try:
        queues.check_queue_name(subject.queue)
    except PartisanError as error:
        yield Finding(ERROR, str(error))
        return
    if not messages:
        yield Finding(FINE, f"No problem found; queues: {', '.join(queues.queue_names())}.")
