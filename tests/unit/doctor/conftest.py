"""A subject to examine, and an environment that asks for nothing."""

import os

import pytest

from django_partisan.doctor.finding import Subject


@pytest.fixture
def subject() -> Subject:
    """Return the queue ``default`` with nothing given."""
    return Subject("default")


@pytest.fixture(autouse=True)
def no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the developer's shell may say."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
