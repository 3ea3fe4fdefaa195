"""Fixtures: a subject to examine, and an environment without OpenTelemetry's variables."""

import os

import pytest

from django_partisan.doctor.finding import Subject


@pytest.fixture
def subject() -> Subject:
    """Return the queue ``default`` with no other options."""
    return Subject("default")


@pytest.fixture(autouse=True)
def no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of the developer's shell."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
