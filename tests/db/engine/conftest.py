"""Fixtures: registry, subscribers and managers for one test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.db.engine.manager_harness import ManagerHarness
from tests.support.events import RecordedEvents


@pytest.fixture(autouse=True)
def registry_as_it_was(own_registry: None) -> None:
    pass


@pytest.fixture
def recorded(recorded_events: RecordedEvents) -> RecordedEvents:
    return recorded_events


@pytest.fixture
def open_harness(temporary_folder: object) -> Iterator[Callable[..., ManagerHarness]]:
    """Return a function that makes managers, which are closed after the test; it takes their arguments."""
    made: list[ManagerHarness] = []

    def make(*args: Any, **settings: Any) -> ManagerHarness:
        made.append(ManagerHarness(*args, **settings))
        return made[-1]

    yield make
    for harness in made:
        harness.close()
