"""Read the database's statistics for any number of scrapes, one query at a time and at a limited rate."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Final, Literal, NamedTuple, TypeAlias

from django_partisan.metrics import catalogue
from django_partisan.metrics.gauges import Sample
from django_partisan.metrics.metric import OTHER, clean
from django_partisan.schedules.tick_record import TICK_OUTCOMES
from django_partisan.sql.errors import is_schema_error
from django_partisan.sql.queue_statistics import QueueStatistics, StatisticsQuery
from django_partisan.sql.schedule_statistics import ScheduleStatistics
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.telemetry import MetricsDatabaseFailed
from django_partisan.telemetry.events.values import ErrorInfo

THREAD_NAME: Final = "partisan-figures"
Request: TypeAlias = "Future[Exception | None]"
"""A query; its result is the error with which it ended, or ``None``."""
Failure: TypeAlias = Literal["schedules", "all"]
"""The statistics that could not be read: only those of schedules, or all."""


class Answer(NamedTuple):
    """The data for a scrape: whether the last query was answered, the statistics, and their age."""

    up: bool
    statistics: QueueStatistics | None
    age: float | None
    duration: float | None
    server_version: str | None
    """The version in the last statistics, however old: it does not change while the server is unreachable."""


class Sampler:
    """A sampler that runs ``query`` in a thread, which starts with the first request.

    ``answer()`` returns at most ``timeout`` seconds after the query began. No query starts within
    ``min_interval`` seconds after the last one ended, even if that failed. Statistics older than ``max_age``
    seconds are dropped.

    ``_lock`` protects every attribute; the thread holds it only to store a result.
    """

    def __init__(
        self, queue: str, query: StatisticsQuery, timeout: float, min_interval: float, max_age: float
    ) -> None:
        self._queue = queue
        self._query = query
        self._timeout = timeout
        self._min_interval = min_interval
        self._max_age = max_age
        self._lock = threading.Lock()
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True)
        self._asked = threading.local()
        self._last: Request | None = None
        self._began_at = self._ended_at = 0.0
        self._duration: float | None = None
        self._statistics: QueueStatistics | None = None
        self._read_at = 0.0
        self._failure: Failure | None = None

    def start_query(self) -> None:
        """Start a query if one is due; the next ``answer()`` in this thread returns its result.

        Callers that ask at the same time share a query, even if each waits before it uses the answer.
        """
        self._asked.request = self._request()

    def answer(self) -> Answer:
        """Return the data after the query that this thread asked for, or after a new one if that is due."""
        request, deadline = vars(self._asked).pop("request", None) or self._request()
        wait([request], max(deadline - time.monotonic(), 0))
        late = TimeoutError(f"the database did not answer within {self._timeout} s")
        error = request.result() if request.done() else late
        with self._lock:
            found, duration = self._statistics, self._duration
            age = time.monotonic() - self._read_at
        self._report(error, None if found is None else found.schedules_error)
        # An error about a missing table, column or privilege is an answer: the server is up.
        up = error is None or is_schema_error(error)
        version = None if found is None else found.server_version
        if found is None or age > self._max_age:
            return Answer(up, None, None, duration, version)
        return Answer(up, found, age, duration, version)

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread; one that hangs in a query ends with the process."""
        self._requests.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _request(self) -> tuple[Request, float]:
        """Return the running or last query and its deadline; start a new query first if one is due."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or (self._last.done() and now - self._ended_at >= self._min_interval):
                self._last, self._began_at = Future(), now
                self._requests.put(self._last)
                if self._thread.ident is None:
                    self._thread.start()
            return self._last, self._began_at + self._timeout

    def _serve(self) -> None:
        with bus.quiet():
            while (request := self._requests.get()) is not None:
                self._run(request)
        self._query.close()

    def _run(self, request: Request) -> None:
        began = time.monotonic()
        statistics = error = None
        try:
            statistics = self._query.read()
        except Exception as raised:
            error = raised
        with self._lock:
            self._ended_at = time.monotonic()
            self._duration = self._ended_at - began
            if statistics is not None:
                self._statistics, self._read_at = statistics, self._ended_at
        request.set_result(error)

    def _report(self, error: Exception | None, schedules_error: Exception | None) -> None:
        """Emit a failure when it begins, and again when it affects other statistics than before."""
        failure: Failure = "schedules" if error is None else "all"
        error = error or schedules_error
        with self._lock:
            reported, self._failure = self._failure, failure if error else None
        if error and failure != reported:
            bus.emit(MetricsDatabaseFailed, self._queue, ErrorInfo.of(error))


def samples(queue: str, answer: Answer) -> Iterator[Sample]:
    """Yield an answer as metrics."""
    yield catalogue.DB_UP, (queue,), answer.up
    yield catalogue.DB_SCRAPE_DURATION, (queue,), answer.duration
    found = answer.statistics
    if found is None or answer.age is None:
        return
    yield from (
        (catalogue.DB_DATA_AGE, (queue,), answer.age),
        (catalogue.DB_CLOCK_SKEW, (queue,), found.clock_skew),
        (catalogue.DB_WRITABLE, (queue,), found.is_writable),
        (catalogue.DB_SCHEDULES_READABLE, (queue,), found.schedules_error is None),
        (catalogue.QUEUE_TASKS, (queue, "due"), found.due),
        (catalogue.QUEUE_TASKS, (queue, "scheduled"), found.scheduled),
        (catalogue.QUEUE_TASKS, (queue, "in_process"), found.in_process),
        (catalogue.QUEUE_TASKS, (queue, "error"), found.error),
        (catalogue.OLDEST_DUE_AGE, (queue,), found.oldest_due_age),
        (catalogue.MANAGERS_ALIVE, (queue,), found.managers_alive),
        (catalogue.TABLE_INSERTS, (), found.inserts),
        (catalogue.TABLE_LIVE_ROWS, (), found.live_rows),
        (catalogue.TABLE_DEAD_ROWS, (), found.dead_rows),
        (catalogue.TABLE_BYTES, (), found.table_bytes),
        (catalogue.OLDEST_TRANSACTION_AGE, (), found.oldest_transaction_age),
        (catalogue.LAST_PRUNE, (), found.last_prune_at),
    )
    for processor, reason, number in found.held:
        yield catalogue.QUEUE_HELD_TASKS, (queue, processor, reason), number
    if found.oldest_due_processor is not None:
        kind = clean(found.oldest_due_processor)
        yield catalogue.OLDEST_DUE_TASK_AGE, (queue, kind), found.oldest_due_age
    for served, number in found.served_elsewhere:
        yield catalogue.MANAGERS_ALIVE, (served,), number
    for unserved, number in found.unserved:
        yield catalogue.UNSERVED_DUE_TASKS, (unserved,), number
    yield from _schedule_samples(found.schedules)


def _schedule_samples(found: Iterable[ScheduleStatistics]) -> Iterator[Sample]:
    """Yield the statistics of schedules; of names with equal labels, which only SQL can insert, the first."""
    seen: set[str] = set()
    for schedule in found:
        label = OTHER if schedule.name is None else clean(schedule.name)
        if label not in seen and (label != OTHER or schedule.name is None):
            seen.add(label)
            yield from _one_schedule_samples(label, schedule)


def _one_schedule_samples(label: str, found: ScheduleStatistics) -> Iterator[Sample]:
    """Yield the statistics of a schedule."""
    labels = (label,)
    if found.totals is not None:
        for outcome, number in zip(TICK_OUTCOMES, found.totals, strict=True):
            yield catalogue.SCHEDULE_TICKS, (*labels, outcome), number
    yield from (
        (catalogue.SCHEDULE_NEXT_TICK, labels, found.next_at),
        (catalogue.SCHEDULE_LAST_TICK, labels, found.last_at),
        (catalogue.SCHEDULE_LAST_COMPLETED, labels, found.last_completed_at),
        (catalogue.SCHEDULE_LATENESS, labels, found.lateness),
        (catalogue.SCHEDULE_OPEN, labels, found.open_seconds),
        (catalogue.SCHEDULE_LAST_FAILED, labels, found.has_failed),
    )
