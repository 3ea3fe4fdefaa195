"""Registry and subscribers as they were before each test."""

from collections.abc import Iterator

import pytest

from django_partisan import registry
from django_partisan.telemetry import bus


@pytest.fixture(autouse=True)
def registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {})


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bus, "_subscribers", [])
    monkeypatch.setattr(bus, "_reported", set())
    bus.refresh()
    yield
    monkeypatch.undo()
    bus.refresh()
