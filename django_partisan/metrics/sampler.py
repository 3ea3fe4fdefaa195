"""The figures of the database, asked by one thread, at most so often, for any number of scrapes."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from django_partisan.metrics import catalogue
from django_partisan.metrics.families import Sample
from django_partisan.metrics.figures import Figures
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import ErrorInfo, MetricsDatabaseFailed


class Asked(Protocol):
    """What the sampler asks; see ``figures.Source``."""

    def read(self) -> Figures:
        """Return the figures, or raise."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Answer(NamedTuple):
    """What is known at a scrape: whether the last query was answered, the figures, their age."""

    up: bool
    figures: Figures | None
    age: float | None
    duration: float | None


class Sampler:
    """Ask ``source`` in a thread of its own; the thread starts with the first question.

    A caller waits until ``timeout`` seconds after the query began. Answers and failures younger than
    ``min_interval`` are not asked for again; figures older than ``max_age`` are not given out.
    """

    def __init__(
        self,
        queue: str,
        source: Asked,
        timeout: float,
        min_interval: float,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._source = source
        self._timeout = timeout
        self._min_interval = min_interval
        self._max_age = max_age
        self._clock = clock
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._asked_at: float | None = None
        """When the query under way began; ``None`` if there is none."""
        self._tried_at: float | None = None
        self._duration: float | None = None
        self._figures: Figures | None = None
        self._figures_at = 0.0
        self._up = False
        self._told_down = False

    def answer(self) -> Answer:
        """Return what is known, after a query if that is due, within ``timeout`` seconds."""
        with self._changed:
            now = self._clock()
            if self._asked_at is None and self._is_stale(now):
                self._ask(now)
            asked_at = self._asked_at
            while self._asked_at is not None and self._asked_at == asked_at:
                left = self._asked_at + self._timeout - self._clock()
                if left <= 0:
                    break
                self._changed.wait(left)
            overdue = self._asked_at is not None and self._asked_at == asked_at
            result = self._result(overdue)
        if overdue:
            self._tell_down(TimeoutError(f"the database did not answer within {self._timeout} s"))
        return result

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread; one that hangs in a query is left to the end of the process."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _is_stale(self, now: float) -> bool:
        return self._tried_at is None or now - self._tried_at >= self._min_interval

    def _ask(self, now: float) -> None:
        self._asked_at = now
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="partisan-figures", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _result(self, overdue: bool) -> Answer:
        up = self._up and not overdue
        age = self._clock() - self._figures_at
        if self._figures is None or age > self._max_age:
            return Answer(up, None, None, self._duration)
        return Answer(up, self._figures, age, self._duration)

    def _serve(self) -> None:
        while self._wait_for_question():
            began = self._clock()
            error: Exception | None = None
            figures: Figures | None = None
            try:
                with bus.quiet():
                    figures = self._source.read()
            except Exception as raised:
                error = raised
            self._note(figures, began)
            if error is not None:
                self._tell_down(error)
        self._source.close()

    def _wait_for_question(self) -> bool:
        with self._changed:
            while self._asked_at is None and not self._stopping:
                self._changed.wait()
            return not self._stopping

    def _note(self, figures: Figures | None, began: float) -> None:
        with self._changed:
            now = self._clock()
            self._duration = now - began
            self._tried_at = now
            self._up = figures is not None
            if figures is not None:
                self._figures, self._figures_at = figures, now
                self._told_down = False
            self._asked_at = None
            self._changed.notify_all()

    def _tell_down(self, error: Exception) -> None:
        with self._changed:
            told, self._told_down = self._told_down, True
        if not told:
            bus.emit(MetricsDatabaseFailed, self._queue, ErrorInfo.of(error))


def samples(queue: str, answer: Answer) -> Iterator[Sample]:
    """Yield an answer as metrics; figures that are not known have no series."""
    labels = (queue,)
    yield catalogue.DB_UP, labels, int(answer.up)
    if answer.duration is not None:
        yield catalogue.DB_SCRAPE_DURATION, labels, answer.duration
    figures = answer.figures
    if figures is None or answer.age is None:
        return
    yield catalogue.DB_DATA_AGE, labels, answer.age
    yield catalogue.DB_CLOCK_SKEW, labels, figures.clock_skew
    yield catalogue.QUEUE_TASKS, (queue, "due"), figures.due
    yield catalogue.QUEUE_TASKS, (queue, "scheduled"), figures.scheduled
    yield catalogue.QUEUE_TASKS, (queue, "in_process"), figures.in_process
    yield catalogue.QUEUE_TASKS, (queue, "error"), figures.error
    yield catalogue.OLDEST_DUE_AGE, labels, figures.oldest_due_age
    yield catalogue.MANAGERS_ALIVE, labels, figures.managers_alive
    yield catalogue.TABLE_INSERTS, (), figures.inserts
    yield catalogue.TABLE_LIVE_ROWS, (), figures.live_rows
    yield catalogue.TABLE_DEAD_ROWS, (), figures.dead_rows
    yield catalogue.TABLE_BYTES, (), figures.table_bytes
    yield catalogue.OLDEST_TRANSACTION_AGE, (), figures.oldest_transaction_age
