"""Fixtures: registry, subscribers and managers for one test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.db.engine.office import Office
from tests.support.events import RecordedEvents


@pytest.fixture(autouse=True)
def registry_as_it_was(own_registry: None) -> None:
    pass


@pytest.fixture
def heard(recorded_events: RecordedEvents) -> RecordedEvents:
    return recorded_events


@pytest.fixture
def open_office(temporary_folder: object) -> Iterator[Callable[..., Office]]:
    """Return a function that makes managers, which are closed after the test; arguments as for ``Office``."""
    made: list[Office] = []

    def make(*args: Any, **settings: Any) -> Office:
        made.append(Office(*args, **settings))
        return made[-1]

    yield make
    for office in made:
        office.close()
