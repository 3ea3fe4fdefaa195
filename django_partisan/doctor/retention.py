"""Check that managers prune the rows of tasks that ended long ago."""

from collections.abc import Iterator
from typing import Final

from django.db import connections

from django_partisan import retention
from django_partisan.doctor.finding import FINE, WARNING, Finding, Subject
from django_partisan.retention import FOREVER
from django_partisan.sql import pruning
from django_partisan.sql.connection import task_database
from django_partisan.sql.pruning import Walk

LATE_SECONDS: Final = 3600.0
"""How long rows may be overdue before a warning."""
KEPT_RATE: Final = 1000.0
"""As in ``engine/manager/pruner.py``: rows that a pass keeps delay the next pass."""
SAMPLE_ROWS: Final = 10_000


def check(subject: Subject) -> Iterator[Finding]:
    """Count overdue rows among those with the lowest ids, and find when a manager last pruned."""
    connection = connections[task_database()]
    rules = retention.rules()
    last = pruning.last_batch(connection)
    if rules.shortest == FOREVER:
        yield Finding(FINE, "The settings keep the rows of all tasks forever; nothing is pruned.")
        return
    queues = retention.queues_of_project()
    walk = Walk(rules.kept_longer(LATE_SECONDS), rows=SAMPLE_ROWS, read=SAMPLE_ROWS, queues=queues)
    late = sum(pruning.count(connection, walk).numbers.values())
    yield _judge(late, last)


def _judge(late: int, last: tuple[float, float] | None) -> Finding:
    when = "No manager has pruned yet" if last is None else f"A manager pruned {last[0]:.0f} s ago"
    is_in_time = last is not None and last[0] <= LATE_SECONDS + last[1] / KEPT_RATE
    if is_in_time or not late:
        return Finding(
            FINE, f"{when}. KEEP_FINISHED_SECONDS and KEEP_FAILED_SECONDS set how long rows are kept."
        )
    rows = f"{late} of the first {SAMPLE_ROWS} rows should have been deleted"
    return Finding(
        WARNING,
        f"{when}; {rows} more than {LATE_SECONDS / 3600:g} h ago.",
        "Start a manager of this version, and look for task.prune_failed in its log; "
        "or run: manage.py partisan_prune",
    )
