"""Registry and subscribers that last for one test."""

import pytest

from tests.support.events import RecordedEvents


@pytest.fixture(autouse=True)
def registry_as_it_was(own_registry: None) -> None:
    pass


@pytest.fixture
def heard(recorded_events: RecordedEvents) -> RecordedEvents:
    return recorded_events
