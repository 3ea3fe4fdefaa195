"""Processors, managers and listeners that last for one test."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection as of_the_test
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import registry
from django_partisan.sql import leasing
from django_partisan.sql.connection import open_connection
from django_partisan.telemetry import bus
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import Event


@pytest.fixture(autouse=True)
def registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {})


class Diary(Subscriber):
    """Note every event, and have ``carried`` stored with each task."""

    name = "diary"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.carried: dict[str, str] = {}

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def headers(self) -> dict[str, str]:
        return self.carried

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def diary() -> Iterator[Diary]:
    made = Diary()
    bus.subscribe(made)
    yield made
    bus.unsubscribe(made)


@pytest.fixture
def manager() -> Callable[..., UUID]:
    """Return a function that gives a queue a manager's row."""

    def register(
        queue: str = "default",
        connection: BaseDatabaseWrapper = of_the_test,
        lease_seconds: float = 30,
        host: str = "here",
    ) -> UUID:
        identity = uuid4()
        leasing.register(connection, identity, queue, host, 17, uuid4(), lease_seconds)
        return identity

    return register


@pytest.fixture
def second(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """Another connection, as another process has one; only committed rows are seen by both."""
    connection = open_connection("second")
    yield connection
    connection.close()
