"""One query serves any number of scrapes; after a failure, the last figures are kept for a limited time."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.db import OperationalError, ProgrammingError

from django_partisan.metrics import catalogue
from django_partisan.metrics import sampler as sampling
from django_partisan.metrics.sampler import Answer, Sampler, samples
from django_partisan.telemetry import bus
from tests.support.engine import error_with
from tests.support.events import RecordedEvents
from tests.support.queue_statistics import STATISTICS, FakeQuery
from tests.support.waiting import wait_until

from .conftest import QUEUE

Make = Callable[..., Sampler]


@pytest.fixture
def query() -> FakeQuery:
    return FakeQuery()


@pytest.fixture
def make(query: FakeQuery) -> Iterator[Make]:
    made = []

    def make(timeout: float = 5, min_interval: float = 0, max_age: float = 60) -> Sampler:
        made.append(Sampler(QUEUE, query, timeout, min_interval, max_age))
        return made[-1]

    yield make
    query.gate.set()
    for sampler in made:
        sampler.stop()


def test_twenty_callers_at_once_share_one_query(make: Make, query: FakeQuery) -> None:
    sampler = make(min_interval=60)
    query.gate.clear()

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(sampler.answer) for _ in range(20)]
        wait_until(lambda: query.calls == 1)
        query.gate.set()

    assert all(answer.result().up and answer.result().statistics == STATISTICS for answer in answers)
    assert query.calls == 1


@pytest.mark.parametrize("error", [None, OSError("gone")])
def test_an_answer_and_a_failure_are_reused_for_the_interval(
    make: Make, query: FakeQuery, error: Exception | None
) -> None:
    query.error = error
    patient, eager = make(min_interval=60), make(min_interval=0)

    answers = [sampler.answer() for sampler in (patient, patient, eager, eager)]

    assert [answer.up for answer in answers] == [error is None] * 4
    assert query.calls == 1 + 2


def test_statistics_outlive_a_failure_until_they_are_too_old(make: Make, query: FakeQuery) -> None:
    sampler = make(max_age=0.3)
    sampler.answer()
    query.error = OSError("gone")

    soon = sampler.answer()
    wait_until(lambda: sampler.answer().statistics is None)
    late = sampler.answer()

    assert (soon.up, soon.statistics) == (False, STATISTICS)
    assert (late.up, late.age) == (False, None)


def test_a_hanging_query_holds_its_callers_for_the_timeout_only(
    make: Make, query: FakeQuery, recorded: RecordedEvents
) -> None:
    query.gate.clear()
    sampler = make(timeout=0.2)
    moments = [time.monotonic()]

    for _ in range(2):
        assert not sampler.answer().up
        moments.append(time.monotonic())

    assert 0.2 <= moments[1] - moments[0] < 2
    assert moments[2] - moments[1] < 0.2
    assert query.calls == 1
    assert [event.error.type for event in recorded.events] == ["TimeoutError"]  # type: ignore[union-attr]


def test_a_failure_is_emitted_once_until_the_next_success(
    make: Make, query: FakeQuery, recorded: RecordedEvents
) -> None:
    sampler = make()

    for error in (OSError("one"), OSError("two"), None, OSError("three")):
        query.error = error
        sampler.answer()

    assert [event.error.message for event in recorded.events] == ["one", "three"]  # type: ignore[union-attr]


def test_a_failure_that_concerns_more_or_less_than_before_is_emitted_too(
    make: Make, query: FakeQuery, recorded: RecordedEvents
) -> None:
    sampler = make()
    sampler.answer()
    query.schedules_error = ProgrammingError("schedules")

    for error in (None, None, OSError("all"), OSError("still all"), None, None):
        query.error = error
        sampler.answer()

    messages = [event.error.message for event in recorded.events]  # type: ignore[union-attr]
    assert messages == ["schedules", "all", "schedules"]


def test_the_query_is_not_traced(make: Make, query: FakeQuery) -> None:
    quiet: list[str] = []

    class Tracing(bus.Subscriber):
        def quiet(self) -> AbstractContextManager[None]:
            return noted()

    @contextmanager
    def noted() -> Iterator[None]:
        quiet.append(threading.current_thread().name)
        yield

    bus.subscribe(Tracing())
    make().answer()

    assert quiet == [sampling.THREAD_NAME]


def test_stopping_ends_the_thread_and_closes_the_connection(make: Make, query: FakeQuery) -> None:
    sampler = make()
    sampler.answer()

    sampler.stop()

    assert query.closed
    assert not any(thread.name == sampling.THREAD_NAME for thread in threading.enumerate())


def test_stopping_what_never_began_is_no_error(make: Make, query: FakeQuery) -> None:
    make().stop()

    assert query.calls == 0


def test_the_moment_of_the_last_pruning_is_exported_once_there_is_one():
    def exported(answer: Answer) -> list[object]:
        return [
            value
            for metric, _, value in samples(QUEUE, answer)
            if metric is catalogue.LAST_PRUNE and value is not None
        ]

    answer = Answer(True, STATISTICS, 0.0, 0.1, None)

    assert exported(answer) == [900.0]
    assert exported(answer._replace(statistics=STATISTICS._replace(last_prune_at=None))) == []


def test_the_kind_that_is_oldest_due_is_exported_while_a_task_is_due():
    def exported(answer: Answer) -> list[object]:
        return [
            (labels, value)
            for metric, labels, value in samples(QUEUE, answer)
            if metric is catalogue.OLDEST_DUE_TASK_AGE
        ]

    answer = Answer(True, STATISTICS, 0.0, 0.1, None)

    assert exported(answer) == [((QUEUE, "Mail"), 5.0)]
    assert exported(answer._replace(statistics=STATISTICS._replace(oldest_due_processor=None))) == []


@pytest.mark.parametrize(("error", "readable"), [(None, True), (ProgrammingError("no such column"), False)])
def test_whether_the_figures_of_schedules_could_be_read_is_exported(
    error: Exception | None, readable: bool
) -> None:
    found = STATISTICS._replace(schedules_error=error)

    exported = list(samples(QUEUE, Answer(True, found, 1.0, 0.1, "16.1")))

    assert (catalogue.DB_SCHEDULES_READABLE, (QUEUE,), readable) in exported


def test_managers_of_other_queues_are_exported_too():
    answer = Answer(True, STATISTICS, 0.0, 0.1, None)

    alive = {
        labels: value
        for metric, labels, value in samples(QUEUE, answer)
        if metric is catalogue.MANAGERS_ALIVE
    }
    assert alive == {(QUEUE,): 1, ("reports",): 3}


def test_a_refused_query_is_an_answer_and_one_that_is_not_answered_is_none(
    make: Make, query: FakeQuery
) -> None:
    sampler = make()

    query.error = error_with("42703", ProgrammingError)
    of_refused = sampler.answer()
    query.error = OperationalError("server closed the connection")
    of_cut = sampler.answer()

    assert (of_refused.up, of_refused.statistics) == (True, None)
    assert of_cut.up is False
