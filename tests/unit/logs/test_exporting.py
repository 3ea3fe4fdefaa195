"""OpenTelemetry's handler on the root logger gets the lines, and does not count as configured logging."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import _logs
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from django_partisan.logs import configuration, exporting
from django_partisan.logs.log_event import MANAGER, WORKER
from django_partisan.logs.subscriber import LOGGER, LogSubscriber, task_logger
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import ManagerStarted
from django_partisan.telemetry.events.queues import ClaimFailed
from django_partisan.telemetry.events.runs import TaskCompleted
from tests.support.waiting import PATIENCE_SECONDS
from tests.unit.logs import samples


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemoryLogRecordExporter:
    """Leave only OpenTelemetry's handler on the root logger; return its exporter."""
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(logging.root, "handlers", [LoggingHandler(logger_provider=provider)])
    return exporter


@pytest.fixture
def no_other(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that leaves only that handler on the root; pytest adds its own when a test begins."""
    return lambda: monkeypatch.setattr(
        logging.root, "handlers", [one for one in logging.root.handlers if exporting.is_exporting(one)]
    )


def attributes(exported: InMemoryLogRecordExporter) -> list[dict[str, Any]]:
    return [dict(line.log_record.attributes or {}) for line in exported.get_finished_logs()]


def test_auto_is_console_where_nothing_but_an_agent_has_a_handler(exported, no_other):
    no_other()

    assert configuration.resolve("auto") == "console"


def test_a_handler_of_the_host_beside_the_agents_is_the_hosts_logging(exported):
    logging.root.handlers.append(logging.StreamHandler())

    assert configuration.resolve("auto") == "host"


@pytest.mark.parametrize("log_format", ["auto", "console", "ecs", "json"])
def test_a_line_is_written_here_and_exported_once_with_its_fields(log_format, exported, no_other, capfd):
    no_other()
    configuration.setup(WORKER, log_format)
    bus.emit(TaskCompleted, samples.RUN, 0.5)
    task_logger(samples.RUN).info("hello", colour="red")
    bus.close(PATIENCE_SECONDS)

    out = capfd.readouterr().out
    completed, own = attributes(exported)
    assert out.count("completed in 0.500 s") == out.count("hello") == 1
    assert (completed["event.action"], completed["partisan.task.id"]) == ("task.completed", "12")
    assert (own["labels.colour"], own["event.module"]) == ("red", "partisan")


def test_a_second_set_up_exports_each_line_once(exported, capfd):
    configuration.setup(MANAGER, "ecs")
    configuration.setup(MANAGER, "json")
    bus.emit(ManagerStarted, "default", 4, "2.0.0", None)
    bus.close(PATIENCE_SECONDS)

    assert [one["event.action"] for one in attributes(exported)] == ["manager.started"]


class Provider:
    """A logger provider whose flush takes as long as the test says, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.gate = threading.Event()
        self.flushes = 0
        self._error = error

    def force_flush(self, timeout_millis: int) -> bool:
        self.flushes += 1
        if self._error is not None:
            raise self._error
        return self.gate.wait(PATIENCE_SECONDS)


def test_lines_that_wait_are_exported_at_the_end_within_the_bound(monkeypatch):
    provider = Provider()
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)
    manager = LogSubscriber(MANAGER)
    began = time.monotonic()

    manager.close(0.2)
    seconds, was_stuck = time.monotonic() - began, manager.is_stuck
    provider.gate.set()
    manager.close(PATIENCE_SECONDS)

    assert 0.2 <= seconds < 2
    assert was_stuck
    assert not manager.is_stuck
    assert provider.flushes == 2


class Stalled(logging.Handler):
    """A handler that does not return while its gate is closed."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self._gate = gate

    def emit(self, record: logging.LogRecord) -> None:
        self._gate.wait(PATIENCE_SECONDS)


def test_lines_that_nobody_reads_and_a_dead_collector_share_the_time_of_the_end(monkeypatch):
    provider, gate = Provider(), threading.Event()
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)
    logging.getLogger(LOGGER).addHandler(Stalled(gate))
    manager = LogSubscriber(MANAGER)
    manager.handle(ClaimFailed("default", samples.ERROR))
    began = time.monotonic()

    manager.close(1.0)
    seconds = time.monotonic() - began
    gate.set()
    provider.gate.set()

    assert 0.9 <= seconds < 1.4


def test_a_provider_that_raises_is_no_hindrance(monkeypatch):
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: Provider(OSError("gone")))

    assert exporting.flush(PATIENCE_SECONDS)


def test_where_nobody_has_loaded_opentelemetrys_logs_there_is_nothing_to_export(monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry._logs")

    assert exporting.flush(0.0)
