"""Fixtures: a presence file, and a manager's parts around fake workers."""

import math
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from django_partisan.engine.presence import PresenceFile
from tests.support.engine import FakeWorker, IntakeHarness
from tests.support.events import RecordedEvents


@pytest.fixture
def recorded(recorded_events: RecordedEvents) -> RecordedEvents:
    """Record all events of a test."""
    return recorded_events


@pytest.fixture
def presence(temporary_folder: object) -> Iterator[PresenceFile]:
    """Yield the presence file of a manager with two workers, which may start tasks."""
    file = PresenceFile(uuid.uuid4(), 2)
    file.extend_lease(math.inf)
    yield file
    file.remove()


@pytest.fixture
def new_engine(presence: PresenceFile) -> Iterator[IntakeHarness]:
    """Yield the intake and the dispatcher of a manager that has not started its two workers."""
    made = IntakeHarness(presence)
    yield made
    made.close()


@pytest.fixture
def engine(new_engine: IntakeHarness) -> IntakeHarness:
    """Return the same manager with both workers ready."""
    new_engine.started()
    return new_engine


@pytest.fixture
def worker_in() -> Iterator[Callable[..., FakeWorker]]:
    """Return a function that makes fake workers, closed after the test; arguments as for ``FakeWorker``."""
    with ExitStack() as stack:

        def make(*args: Any, **more: Any) -> FakeWorker:
            worker = FakeWorker(*args, **more)
            stack.callback(worker.close)
            return worker

        yield make
