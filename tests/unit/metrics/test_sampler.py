"""One query for any number of scrapes, and what is known when there is no answer."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import context

from django_partisan.metrics import sampler as sampling
from django_partisan.metrics.figures import Figures
from django_partisan.metrics.sampler import Answer, Sampler
from django_partisan.telemetry import bus, events
from django_partisan.tracing import TracingSubscriber

from .conftest import QUEUE

FIGURES = Figures(1, 2, 3, 4, 5.0, 1, 7, 8, 9, 10, 11.0, 0.5, "16.1")


class Source:
    """Answers, fails or hangs, as told."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False
        self.suppressed: object = None

    def read(self) -> Figures:
        self.calls += 1
        self.suppressed = context.get_value("suppress_instrumentation")
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return FIGURES

    def close(self) -> None:
        self.closed = True


class Told(bus.Subscriber):
    def __init__(self) -> None:
        self.events: list[events.MetricsDatabaseFailed] = []

    def wants(self, kind: type) -> bool:
        return kind is events.MetricsDatabaseFailed

    def handle(self, event: events.Event) -> None:
        assert isinstance(event, events.MetricsDatabaseFailed)
        self.events.append(event)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def told() -> Told:
    subscriber = Told()
    bus.subscribe(subscriber)
    return subscriber


@pytest.fixture
def make(source: Source) -> Iterator[Callable[..., Sampler]]:
    made = []

    def make(timeout: float = 5, min_interval: float = 0, max_age: float = 60) -> Sampler:
        made.append(Sampler(QUEUE, source, timeout, min_interval, max_age))
        return made[-1]

    yield make
    source.gate.set()
    for sampler in made:
        sampler.stop()


def test_an_answer_has_the_figures_and_their_age(make: Callable[..., Sampler], source: Source) -> None:
    bus.subscribe(TracingSubscriber())

    answer = make().answer()

    assert answer.up
    assert answer.figures == FIGURES
    assert answer.age is not None
    assert 0 <= answer.age < 5
    assert answer.duration is not None
    assert source.suppressed is True


def test_twenty_callers_at_once_share_one_query(make: Callable[..., Sampler], source: Source) -> None:
    sampler = make(min_interval=60)
    source.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(sampler.answer) for _ in range(20)]
        wait_for(lambda: source.calls == 1)
        source.gate.set()

    assert all(answer.result().figures == FIGURES for answer in answers)
    assert source.calls == 1


def test_a_young_answer_is_reused_and_an_old_one_is_not(make: Callable[..., Sampler], source: Source) -> None:
    sampler = make(min_interval=60)
    sampler.answer()
    sampler.answer()
    reused = source.calls
    eager = make(min_interval=0)
    eager.answer()
    eager.answer()

    assert reused == 1
    assert source.calls == 3


def test_a_failure_is_not_repeated_at_once_either(make: Callable[..., Sampler], source: Source) -> None:
    source.error = OSError("gone")
    sampler = make(min_interval=60)

    assert not sampler.answer().up
    assert not sampler.answer().up
    assert source.calls == 1


def test_figures_outlive_a_failure_until_they_are_too_old(
    make: Callable[..., Sampler], source: Source
) -> None:
    sampler = make(max_age=0.3)
    sampler.answer()
    source.error = OSError("gone")
    soon = sampler.answer()
    wait_for(lambda: sampler.answer().figures is None)
    late = sampler.answer()

    assert (soon.up, soon.figures) == (False, FIGURES)
    assert (late.up, late.figures, late.age) == (False, None, None)


def test_a_hanging_query_holds_its_callers_for_the_timeout_only(
    make: Callable[..., Sampler], source: Source, told: Told
) -> None:
    source.gate.clear()
    sampler = make(timeout=0.2)
    began = time.monotonic()
    first = sampler.answer()
    first_took = time.monotonic() - began
    began = time.monotonic()
    second = sampler.answer()
    second_took = time.monotonic() - began

    assert (first.up, second.up) == (False, False)
    assert 0.2 <= first_took < 2
    assert second_took < 0.2
    assert source.calls == 1
    assert [event.error.type for event in told.events] == ["TimeoutError"]


def test_a_failure_is_told_once_until_the_next_success(
    make: Callable[..., Sampler], source: Source, told: Told
) -> None:
    sampler = make()
    for error in (OSError("one"), OSError("two"), None, OSError("three")):
        source.error = error
        sampler.answer()
    wait_for(lambda: len(told.events) == 2)

    assert [event.error.message for event in told.events] == ["one", "three"]


def test_stopping_ends_the_thread_and_closes_the_connection(
    make: Callable[..., Sampler], source: Source
) -> None:
    sampler = make()
    sampler.answer()
    sampler.stop()
    wait_for(lambda: source.closed)

    assert not any(thread.name == "partisan-figures" for thread in threading.enumerate())


def test_stopping_what_never_began_is_no_error(make: Callable[..., Sampler], source: Source) -> None:
    make().stop()

    assert source.calls == 0


def test_without_figures_only_the_state_of_the_query_is_exported() -> None:
    samples = list(sampling.samples(QUEUE, Answer(False, None, None, None)))

    assert [(metric.name, labels, value) for metric, labels, value in samples] == [
        ("partisan_db_up", (QUEUE,), 0)
    ]


def test_each_figure_is_exported_once() -> None:
    samples = list(sampling.samples(QUEUE, Answer(True, FIGURES, 1.5, 0.25)))
    values = {(metric.name, *labels): value for metric, labels, value in samples}

    assert len(values) == len(samples)
    assert values["partisan_db_up", QUEUE] == 1
    assert values["partisan_db_data_age_seconds", QUEUE] == 1.5
    assert values["partisan_queue_tasks", QUEUE, "scheduled"] == 2
    assert values["partisan_task_table_bytes",] == 10
    assert values["partisan_db_clock_skew_seconds", QUEUE] == 0.5


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)
