"""What watches in every process of an application, from its start."""

from typing import Any

import pytest

from django_partisan import logs, signals, tracing
from django_partisan.metrics import application as client_metrics
from django_partisan.telemetry import bus
from django_partisan.telemetry.setup import application


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is installed instead of installing it a second time."""
    noted: list[str] = []
    monkeypatch.setattr(bus, "_tools", {})
    for module, name in (
        (logs, "logs"),
        (tracing, "traces"),
        (signals, "signals"),
        (client_metrics, "metrics"),
    ):
        monkeypatch.setattr(module, "install", lambda name=name: noted.append(name))
    return noted


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["logs", "traces", "signals"]),
        ({"CLIENT_METRICS": True}, ["logs", "traces", "signals", "metrics"]),
        ({"CLIENT_METRICS": "yes"}, ["logs", "traces", "signals"]),
        ([], ["logs", "traces", "signals"]),
    ],
    ids=["by default", "with client metrics", "with a wrong value", "with a wrong setting"],
)
def test_logs_traces_and_signals_are_told_and_metrics_where_asked(given: Any, expected, settings, installed):
    settings.PARTISAN_OBSERVABILITY = given

    application.watch_application()

    assert installed == expected
    assert set(bus._tools) == {"log", "metrics"}
