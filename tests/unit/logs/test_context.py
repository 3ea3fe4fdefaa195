"""The context that is stored with a task, and the context in a log line."""

import contextvars
import subprocess
import sys
from typing import Any

import pytest
import structlog
from django.test import override_settings
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from django_partisan.logs import LogSubscriber, context
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.telemetry.events.scopes import Enqueueing, Running
from django_partisan.telemetry.trace_context import enqueued_trace_id, process_span_id
from tests.unit.logs import samples
from tests.unit.logs.samples import TRACE_ID, TRACEPARENT


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        return 1


@pytest.fixture
def subscriber() -> LogSubscriber:
    return LogSubscriber()


def running(headers: Any) -> Running:
    return Running(samples.RUN._replace(headers=headers), None)


def bind(**values: Any) -> None:
    structlog.contextvars.bind_contextvars(**values)


def test_the_keys_of_the_setting_are_carried_as_text(subscriber):
    assert subscriber.headers() == {}

    bind(request_id="r1", user_id=7, correlation_id=None, other="x")

    assert subscriber.headers() == {"ctx.request_id": "r1", "ctx.user_id": "7"}


@override_settings(PARTISAN_OBSERVABILITY={"CARRY_CONTEXT": ["tenant"]})
def test_the_setting_chooses_the_keys(subscriber):
    bind(request_id="r1", tenant={"id": 1})

    assert subscriber.headers() == {"ctx.tenant": '{"id": 1}'}


def test_what_postgresql_cannot_store_is_not_carried(subscriber):
    bind(request_id="a\0b\ud83d" + "x" * 5000)

    carried = subscriber.headers()["ctx.request_id"]
    assert carried.startswith("ab?x")
    assert len(carried.encode()) <= 1024


@pytest.mark.parametrize(
    ("before", "headers", "inside"),
    [
        ({}, {"ctx.request_id": "r1", "ctx.user_id": "7"}, {"request_id": "r1", "user_id": "7"}),
        ({"request_id": "of the worker"}, {"ctx.request_id": "r1"}, {"request_id": "r1"}),
        ({}, None, {}),
        ({}, {"traceparent": TRACEPARENT}, {}),
        ({}, {"ctx.request_id": 7}, {}),
        ({}, {"ctx.": "x"}, {}),
        ({}, {"ctx.unasked": "x"}, {}),
    ],
)
def test_carried_keys_are_bound_while_a_task_runs_and_only_then(subscriber, before, headers, inside):
    bind(**before)

    with subscriber.around(running(headers)):
        assert structlog.contextvars.get_contextvars() == inside
    assert structlog.contextvars.get_contextvars() == before


def test_carried_keys_are_unbound_when_the_task_raises_or_clears_them(subscriber):
    with pytest.raises(KeyError), subscriber.around(running({"ctx.request_id": "r1"})):
        structlog.contextvars.clear_contextvars()
        raise KeyError
    assert structlog.contextvars.get_contextvars() == {}


def test_an_enqueueing_binds_nothing(subscriber):
    with subscriber.around(Enqueueing("default", "SendMail")):
        assert structlog.contextvars.get_contextvars() == {}


def test_a_carried_key_stands_once_in_a_line_and_the_task_may_change_it(lines, subscriber):
    with subscriber.around(running({"ctx.request_id": "r1"})):
        bus.emit(TaskCompleted, samples.RUN, 0.5)
        bind(request_id="r2")
        bus.emit(TaskCompleted, samples.RUN, 0.5)

    found = [[item for item in line.items() if "request_id" in item[0]] for line in lines()]
    assert found == [[("labels.request_id", "r1")], [("labels.request_id", "r2")]]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        ([1, {"token": "t"}], '[1, {"token": "[redacted]"}]'),
        ('sent {"token": "t"}', 'sent {"token": "[redacted]"}'),
        ({Unprintable(): 1}, '{"[unprintable Unprintable]": 1}'),
        ([float("inf")], "[Infinity]"),
        (Unprintable(), "[unprintable Unprintable]"),
        ("x" * 3000, "x" * 1021 + "…"),
    ],
)
def test_a_label_is_text(value, label):
    assert context.labels({"key": value}) == {"labels.key": label}


def test_a_secret_label_is_redacted():
    assert context.labels({"auth_token": "t", "X-Api-Key": "k"}) == {
        "labels.auth_token": "[redacted]",
        "labels.X-Api-Key": "[redacted]",
    }


def test_a_secret_is_not_even_parsed():
    class Secret(str):
        __slots__ = ()

        def __contains__(self, part: object) -> bool:
            raise AssertionError("it was read")

    assert context.labels({"token": Secret('{"a": 1}')}) == {"labels.token": "[redacted]"}


def test_a_value_that_no_json_can_hold_is_a_label_all_the_same():
    class Evil(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise RuntimeError("no")

    assert context.labels({"key": Evil()}) == {"labels.key": "[unprintable Evil]"}


def test_a_line_names_the_current_span(lines):
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        bus.emit(TaskCompleted, samples.RUN, 0.5)

    ids = span.get_span_context()
    assert lines()[0]["trace.id"] == f"{ids.trace_id:032x}"
    assert lines()[0]["span.id"] == f"{ids.span_id:016x}"


def test_a_span_without_ids_is_not_named(lines):
    invalid = trace.NonRecordingSpan(trace.SpanContext(0, 0, is_remote=False))

    with trace.use_span(invalid):
        bus.emit(TaskCompleted, samples.RUN, 0.5)

    assert "trace.id" not in lines()[0]


def test_the_runs_span_is_the_transaction(lines):
    def run() -> None:
        process_span_id.set("00f067aa0ba902b7")
        bus.emit(TaskCompleted, samples.RUN, 0.5)

    contextvars.copy_context().run(run)
    bus.emit(TaskCompleted, samples.RUN, 0.5)

    assert [line.get("transaction.id") for line in lines()] == ["00f067aa0ba902b7", None]


FORKING = """
import os
from django_partisan.logs.context import event_id
print(event_id(), flush=True)
if os.fork():
    os.wait()
print(event_id(), flush=True)
"""


@pytest.mark.slow
def test_a_forked_process_has_event_ids_of_its_own():
    printed = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)

    first, of_child, second = (line.split("-") for line in printed.stdout.splitlines())
    assert (first[1], of_child[1], second[1]) == ("1", "1", "2")
    assert first[0] == second[0] != of_child[0]


def test_the_enqueuers_trace_is_read_from_the_carried_context():
    assert enqueued_trace_id({"traceparent": TRACEPARENT}) == TRACE_ID
    assert enqueued_trace_id({"traceparent": f"01{TRACEPARENT[2:]}-later"}) == TRACE_ID


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {"traceparent": None},
        {"traceparent": ""},
        {"traceparent": TRACEPARENT.upper()},
        {"traceparent": f"ff{TRACEPARENT[2:]}"},
        {"traceparent": f"{TRACEPARENT}-later"},
        {"traceparent": f"{TRACEPARENT}\n"},
        {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
        {"traceparent": f"00-{TRACE_ID}-{'0' * 16}-01"},
        {"traceparent": "x" * 100_000},
    ],
)
def test_a_malformed_trace_context_is_ignored(headers):
    assert enqueued_trace_id(headers) is None
