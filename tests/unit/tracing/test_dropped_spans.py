"""Dropped spans are counted, sent to the manager and reported; the SDK does not warn about every batch."""

import logging
import os

import pytest

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import TasksClaimed
from django_partisan.telemetry.events.telemetry import TelemetryDropped
from django_partisan.telemetry.events.workers import WorkerExited
from django_partisan.tracing import TracingSubscriber, dropped_spans

from .conftest import Recording
from .driving import QUEUE


@pytest.fixture(autouse=True)
def _none_yet():
    others = dropped_spans.unexported[:]
    dropped_spans.unexported.clear()
    dropped_spans.taken()
    yield
    dropped_spans.taken()
    dropped_spans.unexported[:] = others


def test_worker_sends_its_counts_once():
    subscriber = TracingSubscriber()
    dropped_spans.count(dropped_spans.QUEUE_FULL, 3)
    dropped_spans.count(dropped_spans.QUEUE_FULL, 1)

    assert subscriber.take() == ({"span_queue_full": 4}, [], os.getpid(), 0)
    assert subscriber.take() is None


def test_manager_reports_a_workers_counts_at_once_and_what_is_left_at_the_end(reported, recording: Recording):
    subscriber = TracingSubscriber(queue=QUEUE, tracer_provider=recording.provider)
    subscriber.absorb(2, ({"span_queue_full": 4}, [], 7, 0))
    subscriber.absorb(2, ({"span_queue_full": 5}, [], 7, 0))
    dropped_spans.count(dropped_spans.EXPORT_FAILED, 6)
    before = reported[:]

    subscriber.close(5)

    assert before == [TelemetryDropped(QUEUE, "span_queue_full", 4)]
    assert sorted(reported[1:]) == [
        TelemetryDropped(QUEUE, "span_export_failed", 6),
        TelemetryDropped(QUEUE, "span_queue_full", 5),
    ]


def test_workers_counts_are_left_for_its_last_message(reported, recording: Recording):
    subscriber = TracingSubscriber(slot=2, tracer_provider=recording.provider)
    dropped_spans.count(dropped_spans.EXPORT_FAILED, 6)

    subscriber.close(5)

    assert reported == []
    assert subscriber.take() == ({"span_export_failed": 6}, [], os.getpid(), 0)


def test_managers_own_counts_are_reported_with_a_claim(reported, recording: Recording):
    dropped_spans.count(dropped_spans.QUEUE_FULL, 1)

    bus.emit(TasksClaimed, QUEUE, 0, (), 0.1, ())

    assert reported == [TelemetryDropped("default", "span_queue_full", 1)]


def test_each_reason_is_reported_at_most_once_a_minute(reported):
    now = [100.0]
    dropped = dropped_spans.DroppedSpans(QUEUE, clock=lambda: now[0])
    dropped.add({"span_queue_full": 1})
    dropped.add({"span_queue_full": 2, "span_export_failed": 7})
    now[0] += 59
    dropped.add({"span_queue_full": 3})
    now[0] += 1
    dropped.add({})

    assert [(event.reason, event.number) for event in reported] == [
        ("span_queue_full", 1),
        ("span_export_failed", 7),
        ("span_queue_full", 5),
    ]


def test_a_worker_reports_how_many_spans_wait_when_that_changes_and_none_once_it_has_flushed(
    recording: Recording,
):
    waiting = [3, 4]
    dropped_spans.unexported.extend([lambda: waiting[0], lambda: waiting[1]])
    subscriber = TracingSubscriber(slot=2, tracer_provider=recording.provider)

    first, again = subscriber.take(), subscriber.take()
    waiting[0] = 1
    fewer = subscriber.take()
    subscriber.close(5)

    assert (first, again) == (({}, [], os.getpid(), 7), None)
    assert fewer == ({}, [], os.getpid(), 5)
    assert subscriber.take() == ({}, [], os.getpid(), 0)


def exited(pid: int, reason: str = "signal") -> None:
    bus.emit(WorkerExited, QUEUE, 2, 1, pid, -9, "SIGKILL", reason, None, None)


def test_spans_that_waited_in_a_worker_at_its_death_are_dropped_once(reported, recording: Recording):
    bus.absorb(2, [("traces", ({}, [], 70, 9)), ("traces", ({}, [], 70, 4))])
    bus.absorb(2, [("traces", ({}, [], 71, 5))])  # its successor in the slot

    exited(70)
    exited(70)
    bus.absorb(2, [("traces", ({}, [], 71, 0))])
    exited(71, "recycled")
    exited(72)

    assert [event[1:] for event in reported] == [("worker_lost", 4)]


def without_handlers(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """Remove the handlers of root and SDK, pytest's too, which it adds after fixtures; return a logger."""
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "handlers", [])
    return logging.getLogger(f"{dropped_spans.SDK_LOGGER}.exporter.of.a.test")


@pytest.mark.parametrize(
    ("silent", "expected"),
    [(False, "OpenTelemetry: Failed to export: 400\nOpenTelemetry: something else\n"), (True, "")],
)
def test_the_manager_writes_each_warning_once_and_workers_none(monkeypatch, capsys, silent, expected):
    exporter = without_handlers(monkeypatch)
    dropped_spans.limit_sdk_warnings(silent)
    for code in (400, 400, 503):
        exporter.error("Failed to export: %s", code)
    exporter.warning("something else")
    exporter.info("nothing of note")

    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", ["", dropped_spans.SDK_LOGGER])
def test_where_the_host_has_a_handler_it_gets_everything(monkeypatch, capsys, name):
    exporter = without_handlers(monkeypatch)
    handler = logging.NullHandler()
    logging.getLogger(name).addHandler(handler)

    dropped_spans.limit_sdk_warnings(silent=False)
    exporter.error("Failed to export")

    assert capsys.readouterr().err == ""
    assert logging.getLogger(dropped_spans.SDK_LOGGER).handlers == ([handler] if name else [])
