"""At most one subscriber traces in a process, and none where it would only cost."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TaskCompleted
from django_partisan.tracing import TracingSubscriber, install, process, setup

from .conftest import Recording


@pytest.fixture(autouse=True)
def _nobody_traces_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = process._subscriber
    process._put(None)
    yield
    process._put(before)


@pytest.fixture
def host_configured_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = trace.ProxyTracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: proxy)
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def host_configured(monkeypatch: pytest.MonkeyPatch, recording: Recording) -> Recording:
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: recording.provider)
    return recording


def tracing() -> list[TracingSubscriber]:
    return [found for found in bus.subscribers() if isinstance(found, TracingSubscriber)]


def test_application_is_traced_by_one_subscriber(host_configured_nothing):
    install()
    install()

    assert len(tracing()) == 1


@pytest.mark.parametrize("role", ["manager", "worker"])
def test_nobody_is_subscribed_where_nothing_would_be_traced(host_configured_nothing, role: str):
    install()
    setup(role, "images", 4711, 3)

    assert tracing() == []


@pytest.mark.parametrize("slot", [None, 3])
def test_process_of_ours_has_a_subscriber_of_its_own(host_configured: Recording, slot: int | None):
    install()
    [applications] = [found for found in tracing() if found is process._subscriber]
    setup("manager" if slot is None else "worker", "images", 4711, slot)

    assert applications not in tracing()
    assert process._subscriber in tracing()
    assert bus.wanted(TaskCompleted)


def test_unknown_role_is_refused():
    with pytest.raises(ValueError, match="'fork server'; expected 'manager' or 'worker'"):
        setup("fork server")
