"""List the kinds of tasks without a time limit."""

import math
from collections.abc import Iterator
from typing import Final

from django_partisan import registry
from django_partisan.config import queues
from django_partisan.doctor.finding import FINE, Finding, Subject

NAMED_AT_MOST: Final = 10


def check(subject: Subject) -> Iterator[Finding]:
    """List the processors of the queue without a time limit, which is allowed."""
    default = queues.queue_value(subject.queue, "DEFAULT_TIMEOUT_SECONDS")
    of_queue = [one for one in registry.definitions.values() if one.queue == subject.queue]
    unlimited = sorted(one.name for one in of_queue if one.run_limit(default) == math.inf)
    if not unlimited:
        yield Finding(FINE, f"Every processor of the queue {subject.queue!r} has a time limit.")
        return
    more = len(unlimited) - NAMED_AT_MOST
    named = ", ".join(unlimited[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    yield Finding(
        FINE,
        "These processors have no time limit (TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS), which is allowed: "
        f"{named}.",
    )
