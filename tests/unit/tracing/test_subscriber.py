"""What the subscriber wants and costs without an SDK, and which runs it keeps until they are settled."""

import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from django_partisan.telemetry.events.queues import OutcomesSettled, TasksClaimed
from django_partisan.telemetry.events.runs import TaskCompleted, TaskFailed
from django_partisan.telemetry.events.scopes import Enqueueing, Running
from django_partisan.telemetry.events.tasks import TaskEnqueued
from django_partisan.telemetry.events.values import TaskRef
from django_partisan.tracing import TracingSubscriber, links
from django_partisan.tracing.sdk import configured_tracer

from .conftest import Recording
from .driving import ERROR, QUEUE, complete, enqueue, postpone, run_of


def test_without_an_sdk_nothing_is_wanted_and_scopes_do_nothing(no_sdk):
    subscriber = TracingSubscriber()

    subscriber.handle(TasksClaimed(QUEUE, 1, (1,), 0.1, ()))  # ignored
    subscriber.handle(TaskFailed(TaskRef(1, "Resize", QUEUE, 10, 1, 0, 0), None, "worker_lost", ERROR))

    assert configured_tracer() is None
    assert not any(map(subscriber.wants, (TaskCompleted, TasksClaimed, OutcomesSettled)))
    assert subscriber.around(Enqueueing(QUEUE, "Resize")) is subscriber.around(Running(run_of(), None))
    assert subscriber.headers() == {}


@pytest.mark.parametrize("disabled", [True, False])
def test_sdk_that_is_disabled_or_does_nothing_counts_as_none(monkeypatch: pytest.MonkeyPatch, disabled: bool):
    monkeypatch.setenv("OTEL_SDK_DISABLED", str(disabled))
    provider = TracerProvider(shutdown_on_exit=False) if disabled else trace.NoOpTracerProvider()

    assert not TracingSubscriber(tracer_provider=provider).wants(TaskCompleted)


def test_events_are_wanted_as_soon_as_an_sdk_is_set_up(no_sdk, recording: Recording):
    subscriber = TracingSubscriber()
    before = subscriber.wants(TaskCompleted)
    no_sdk.append(recording.provider)

    assert not before
    assert subscriber.wants(TaskCompleted)
    assert not subscriber.wants(TaskEnqueued)  # which makes no span


def test_context_of_spans_that_are_not_sampled_travels_on(traced):
    traced(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))

    sent = enqueue()
    put_back = postpone(sent)
    complete(put_back, attempt=2)

    assert int(sent["traceparent"].rsplit("-")[3], 16) & 1 == 0
    assert put_back["partisan.previous_span"] != put_back["traceparent"]


def test_runs_that_are_never_settled_do_not_pile_up():
    runs = links.RunsToSettle()
    text, last = f"00-{1:032x}-{1:016x}-01", links.RUNS_KEPT_MAX

    runs.absorb([(task_id, text) for task_id in range(last + 1)])

    assert [len(runs.links([task_id])) for task_id in (0, 1, last)] == [0, 1, 1]


def test_no_run_is_lost_that_ends_while_another_thread_reports():
    runs, number = links.RunsToSettle(), 20_000
    taken: set[int] = set()
    span = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))
    ended = threading.Event()

    def report() -> None:
        while not ended.is_set():
            taken.update(task_id for task_id, _ in runs.taken())

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=report)
    thread.start()
    try:
        for task_id in range(number):
            runs.add(task_id, span)
    finally:
        sys.setswitchinterval(before)
        ended.set()
        thread.join()

    taken.update(task_id for task_id, _ in runs.taken())
    assert len(taken) == number


def test_run_without_a_valid_span_is_not_sent_to_the_manager():
    runs = links.RunsToSettle()

    runs.add(1, trace.INVALID_SPAN)

    assert runs.taken() == []
