"""At most one subscriber traces in a process, and none where tracing would have no effect."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Literal

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.tracing import TracingSubscriber, datadog, install, setup
from tests.support.telemetry import telemetry_kept


@pytest.fixture(autouse=True)
def _applications_tracing_comes_back(no_sdk: list[trace.TracerProvider]) -> Iterator[None]:
    with telemetry_kept():
        yield


def tracing() -> list[TracingSubscriber]:
    return [found for found in bus.subscribers() if isinstance(found, TracingSubscriber)]


def test_application_is_traced_by_one_subscriber():
    install()
    install()

    assert len(tracing()) == 1


@pytest.mark.parametrize("role", ["manager", "worker"])
def test_nobody_is_subscribed_where_nothing_would_be_traced(role):
    setup(role, "images", 4711, 3)

    assert tracing() == []


@pytest.mark.parametrize("slot", [None, 3])
def test_process_of_ours_has_a_subscriber_of_its_own(no_sdk, slot: int | None):
    install()
    before = tracing()
    no_sdk.append(TracerProvider(shutdown_on_exit=False))

    setup("manager" if slot is None else "worker", "images", 4711, slot)

    [added] = tracing()
    assert added not in before
    assert added.wants(TaskCompleted)


@pytest.mark.parametrize(("role", "is_enabled"), [("manager", False), ("worker", True)])
def test_datadogs_agent_traces_workers_and_no_manager(
    role: Literal["manager", "worker"], is_enabled: bool, monkeypatch: pytest.MonkeyPatch
):
    tracer = SimpleNamespace(enabled=True)
    monkeypatch.setitem(sys.modules, datadog.LIBRARY, SimpleNamespace(tracer=tracer))

    setup(role)

    assert tracer.enabled is is_enabled
