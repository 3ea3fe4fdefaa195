"""The end of a worker: in order and within one time limit, whatever hangs."""

import threading
import time
from collections.abc import Iterator

import pytest

from django_partisan.engine.worker.shutdown import WorkerShutdown
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.telemetry import TelemetryFlushTimedOut
from django_partisan.telemetry.events.workers import ExitTimedOut, WorkerStopping
from tests.support.events import RecordedEvents, subscribed
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("no_subscribers")


class Steps(bus.Subscriber):
    """Record the order of events; block where the test says."""

    name = "steps"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.blocks: dict[str, threading.Event] = {}

    def handle(self, event: object) -> None:
        self.step(type(event).__name__)

    def close(self, timeout: float) -> None:
        self.step("flush")

    def run_exit_handlers(self) -> None:
        self.step("exit handlers")

    def step(self, name: str) -> None:
        self.seen.append(name)
        if name in self.blocks:
            assert self.blocks[name].wait(PATIENCE_SECONDS)


@pytest.fixture
def steps() -> Iterator[Steps]:
    with subscribed(made := Steps()):
        yield made
        for block in made.blocks.values():
            block.set()


def test_receivers_are_called_first_and_what_they_did_is_flushed(steps: Steps):
    ending = WorkerShutdown("default", 3, 4, PATIENCE_SECONDS, steps.run_exit_handlers)
    with subscribed(recorded := RecordedEvents()):
        ending.begin()
        ending.begin()
        ending.finish()

    assert steps.seen[0] == "WorkerStopping"
    assert sorted(steps.seen) == ["WorkerStopping", "exit handlers", "flush"]
    assert recorded.events == [WorkerStopping("default", 3, 4)]


@pytest.mark.parametrize("what", ["WorkerStopping", "exit handlers"])
def test_what_hangs_delays_the_end_by_the_bound_and_hinders_no_flush(what: str, steps: Steps):
    steps.blocks[what] = threading.Event()
    ending = WorkerShutdown("default", 3, 4, 0.2, steps.run_exit_handlers)
    began = time.monotonic()
    with subscribed(recorded := RecordedEvents()):
        ending.begin()
        ending.finish()

    assert 0.2 <= time.monotonic() - began < 2
    assert "flush" in steps.seen
    assert recorded.of(TelemetryFlushTimedOut) == []
    [late] = recorded.of(ExitTimedOut)
    assert (late.queue, late.seconds >= 0.2) == ("default", True)


def test_without_receivers_and_exit_handlers_there_is_nothing_to_wait_for():
    ending = WorkerShutdown("default", 3, 4, PATIENCE_SECONDS)
    began = time.monotonic()

    ending.begin()
    ending.finish()

    assert time.monotonic() - began < 2
