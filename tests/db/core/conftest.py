"""Fixtures: processors, managers and subscribers for one test."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import open_connection
from tests.support.events import RecordedEvents
from tests.support.registry import register_processors_of
from tests.support.rows import register_manager


@pytest.fixture(autouse=True)
def processors_of_the_module(own_registry: None, request: pytest.FixtureRequest) -> None:
    """Register the processors of the test's module, and no others."""
    register_processors_of(request.module)


@pytest.fixture
def diary(recorded_events: RecordedEvents) -> RecordedEvents:
    return recorded_events


@pytest.fixture
def manager() -> Callable[..., UUID]:
    """Return a function that inserts a manager's row for a queue."""
    return register_manager


@pytest.fixture
def second(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A second connection, like another process's; both see only committed rows of each other."""
    connection = open_connection("second")
    yield connection
    connection.close()
