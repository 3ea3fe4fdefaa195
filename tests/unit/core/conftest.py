"""Registry and subscribers as they were before each test."""

from collections.abc import Iterator

import pytest

from django_partisan import events, registry


@pytest.fixture(autouse=True)
def registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {})


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(events, "_subscribers", [])
    monkeypatch.setattr(events, "_told", set())
    counted = events.swallowed.copy()
    events.swallowed.clear()
    events.refresh()
    yield
    monkeypatch.undo()
    events.swallowed.clear()
    events.swallowed.update(counted)
    events.refresh()
