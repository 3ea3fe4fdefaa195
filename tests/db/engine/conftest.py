"""Registry and subscribers that last for one test."""

from collections.abc import Iterator

import pytest

from django_partisan import registry
from django_partisan.telemetry import bus
from tests.unit.engine.doubles import Heard


@pytest.fixture(autouse=True)
def registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {})


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    bus.subscribe(made)
    yield made
    bus.unsubscribe(made)
