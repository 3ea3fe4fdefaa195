"""Read the statistics of a queue's tasks and of the table, over a separate connection."""

import json
import math
import time
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all, open_connection
from django_partisan.sql.schedule_statistics import ScheduleStatistics, schedule_statistics
from django_partisan.sql.statistics_statement import LIMITS, PREPARE, STATISTICS, Limits

CONNECT_SECONDS_MIN: Final = 2  # libpq treats anything less as 2


class HeldRows(NamedTuple):
    """How many rows of a processor are held, and why."""

    processor: str
    reason: str
    number: int


class UnservedTasks(NamedTuple):
    """How many tasks are due in a queue that no live manager serves."""

    queue: str
    number: int


class LiveManagers(NamedTuple):
    """How many managers of a queue are alive."""

    queue: str
    number: int


class QueueStatistics(NamedTuple):
    """The statistics of one queue; ages and the clock skew are in seconds, by the database's clock."""

    due: int
    scheduled: int
    in_process: int
    error: int
    oldest_due_age: float
    managers_alive: int
    inserts: int
    live_rows: int
    dead_rows: int
    table_bytes: int
    oldest_transaction_age: float
    clock_skew: float
    server_version: str
    held: tuple[HeldRows, ...]
    """The held rows."""
    unserved: tuple[UnservedTasks, ...]
    """The unserved tasks of all queues."""
    served_elsewhere: tuple[LiveManagers, ...]
    """How many live managers each other queue has; queues without any are left out."""
    oldest_due_processor: str | None
    """The processor of the task that has been due the longest; ``None`` if none is due."""
    is_writable: bool
    """Whether the server accepts writes: it is not a standby, and not set to be read-only."""
    last_prune_at: float | None = None
    """When a manager last pruned, as a Unix timestamp."""
    schedules: tuple[ScheduleStatistics, ...] = ()
    """The statistics of the schedules of all queues."""
    schedules_error: Exception | None = None
    """Why there are no statistics of schedules."""


class StatisticsQuery:
    """The statistics query, on a connection of its own; use it in one thread at a time."""

    def __init__(self, queue: str, timeout: float, limits: Limits = LIMITS) -> None:
        """Query ``queue``; a statement is cancelled after ``timeout`` seconds."""
        self._queue = queue
        self._timeout = timeout
        self._limits = limits
        self._connection: BaseDatabaseWrapper | None = None

    def read(self) -> QueueStatistics:
        """Return the current statistics; after an error of the driver, the next call connects again."""
        try:
            return self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read(self) -> QueueStatistics:
        if self._connection is None:
            seconds = max(self._timeout, CONNECT_SECONDS_MIN)
            self._connection = open_connection(f"figures {self._queue}", seconds)
        return read_statistics(self._connection, self._queue, self._timeout, self._limits)


def read_statistics(
    connection: BaseDatabaseWrapper, queue: str, timeout: float, limits: Limits = LIMITS
) -> QueueStatistics:
    """Return the current statistics of a queue, over a connection of our own that is in no transaction.

    The statement is cancelled after ``timeout`` seconds. Errors of the driver are raised.
    """
    with connection.cursor() as cursor:
        cursor.execute("BEGIN READ ONLY")
        before = time.time()
        cursor.execute(PREPARE, (str(math.ceil(timeout * 1000)),))
        now = (before + time.time()) / 2
        skew = cursor.fetchall()[0][-1] - now
        row = fetch_all(connection, STATISTICS, limits.parameters(queue))[0]
        statistics = _statistics(row, skew, limits.counted)
        try:
            statistics = statistics._replace(schedules=schedule_statistics(connection))
        except Exception as error:  # the statistics of tasks are valid, whatever the rows of schedules hold
            statistics = statistics._replace(schedules_error=error)
        cursor.execute("COMMIT")  # also after an error, because the transaction has only read
    return statistics


def _statistics(row: tuple[Any, ...], skew: float, most: int) -> QueueStatistics:
    counted, (is_estimate, failures), held = row[:5], row[5:7], row[7]
    estimates, (share, oldest, kind, *rest) = row[8:12], row[12:]
    managers, elsewhere, inserts, live, dead, size, transaction, version, *rest = rest
    unserved, last_prune, is_writable = rest
    ready, overdue, scheduled, in_process, error = counted
    of_ready, of_scheduled, of_in_process, of_error = (_of_queue(estimate, share) for estimate in estimates)
    return QueueStatistics(
        due=_depth(ready, of_ready, most) + overdue,
        scheduled=_depth(scheduled, of_scheduled, most),
        in_process=_depth(in_process, of_in_process, most),
        error=max(error, round(of_error * failures)) if is_estimate else error,
        oldest_due_age=max(oldest or 0.0, 0.0),
        managers_alive=managers,
        inserts=inserts,
        live_rows=live,
        dead_rows=dead,
        table_bytes=size,
        oldest_transaction_age=max(transaction or 0.0, 0.0),
        clock_skew=skew,
        server_version=version,
        held=tuple(HeldRows(*one) for one in json.loads(held)),
        unserved=tuple(UnservedTasks(*one) for one in json.loads(unserved)),
        served_elsewhere=tuple(LiveManagers(*one) for one in json.loads(elsewhere)),
        oldest_due_processor=kind,
        is_writable=is_writable,
        last_prune_at=last_prune,
    )


def _of_queue(estimate: float | None, share: float | None) -> float:
    """Return the queue's share of the planner's estimate."""
    return (estimate or 0) * (1 if share is None else share)


def _depth(counted: int, estimate: float, most: int) -> int:
    """Return the counted number or, if more than ``most`` were counted, the estimate."""
    return counted if counted <= most else max(counted, round(estimate))
