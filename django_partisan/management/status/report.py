"""The report of ``partisan_status``: queues, the managers of all hosts, and recent failures."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import __version__
from django_partisan.config import queues as settings_of_queues
from django_partisan.exceptions import UnknownQueue
from django_partisan.sql import overview
from django_partisan.sql.connection import address_of
from django_partisan.sql.manager_state import PublishedManager, published_managers
from django_partisan.sql.overview import FailingKind, LastError, QueuePause
from django_partisan.sql.queue_statistics import QueueStatistics, read_statistics

TIMEOUT_SECONDS: Final = 10.0
"""The time limit of each statement."""


class QueueStatus(NamedTuple):
    """The status of one queue."""

    name: str
    statistics: QueueStatistics
    pause: QueuePause | None
    running: int
    """The number of runs that live managers and workers have published."""
    kinds: Sequence[FailingKind]
    errors: Sequence[LastError]

    @property
    def held(self) -> int:
        """The number of held tasks."""
        return sum(one.number for one in self.statistics.held)


class StatusReport(NamedTuple):
    """The status of queues and managers at one moment."""

    version: str
    at: datetime
    database: str
    """Host, port and name of the tasks' database."""
    queues: Sequence[QueueStatus]
    managers: Sequence[PublishedManager]


def read_report(connection: BaseDatabaseWrapper, queue_name: str | None = None) -> StatusReport:
    """Return the report on one queue or, with ``None``, on all queues that are configured or in use.

    Raises ``UnknownQueue`` for a queue that is neither configured nor in use.
    """
    overview.begin_reading(connection, TIMEOUT_SECONDS)
    names = _names(connection, queue_name)
    managers = published_managers(connection, queue_name)
    paused = {pause.queue: pause for pause in overview.pauses(connection)}
    failures = {
        name: (overview.failing_kinds(connection, name), overview.last_errors(connection, name))
        for name in names
    }
    overview.end_reading(connection)
    queues = [
        QueueStatus(
            name,
            read_statistics(connection, name, TIMEOUT_SECONDS),
            paused.get(name),
            sum(len(one.runs) for one in managers if one.queue == name and one.is_alive),
            *failures[name],
        )
        for name in names
    ]
    now = datetime.now(timezone.utc)
    return StatusReport(__version__, now, address_of(connection), queues, managers)


def _names(connection: BaseDatabaseWrapper, queue_name: str | None) -> list[str]:
    names = sorted({*settings_of_queues.queue_names(), *overview.queues_in_use(connection)})
    if queue_name is None:
        return names
    if queue_name not in names:
        raise UnknownQueue(
            f"No queue {queue_name!r} is configured or in use; queues here: {', '.join(names)}."
        )
    return [queue_name]
