"""How long a manager stays ready while workers are replaced; other cases are in ``test_exporter``."""

from types import SimpleNamespace

import pytest

from django_partisan.metrics.probes import Readiness, stall
from django_partisan.telemetry.events.workers import WorkerExited, WorkerReady

from .conftest import QUEUE, seen, snapshot

READY = WorkerReady(QUEUE, 1, 1, 42, ())
EXITED = WorkerExited(QUEUE, 1, 1, 42, 0, None, "recycled", None, None)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_loop_is_alive_for_thirty_seconds_after_its_turn(state: SimpleNamespace) -> None:
    assert stall(snapshot(state), 1_030.0) is None
    assert stall(snapshot(state), 1_031.0) == "the manager's loop has not run for 31 s"


def test_the_replacement_of_a_ready_worker_has_half_a_minute(state: SimpleNamespace, clock: Clock) -> None:
    readiness = Readiness(clock)
    state.workers = (seen(0), seen(1, "starting"))
    found = []

    for clock.now, event in ((0.0, READY), (0.0, EXITED), (29.0, EXITED), (31.0, EXITED)):
        readiness.handle(event)
        found.append(readiness.faults(snapshot(state)))

    assert found == [[], [], [], ["1 of 2 workers are not ready"]]


def test_a_worker_that_crashes_before_it_is_ready_has_no_respite(
    state: SimpleNamespace, clock: Clock
) -> None:
    readiness = Readiness(clock)
    state.workers = (seen(0), seen(1, "starting"))

    readiness.handle(EXITED)

    assert len(readiness.faults(snapshot(state))) == 1
