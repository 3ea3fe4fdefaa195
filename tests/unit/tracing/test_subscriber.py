"""What the subscriber wants and costs without an SDK, and how losses reach the manager."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    Enqueueing,
    OutcomesSettled,
    Running,
    TaskCompleted,
    TaskEnqueued,
    TasksClaimed,
    TelemetryDropped,
)
from django_partisan.tracing import TracingSubscriber, is_set_up, losses, settling

from .conftest import Recording
from .driving import QUEUE, complete, enqueue, postpone, run_of


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> trace.ProxyTracerProvider:
    """Have no SDK set up, whatever other tests of this process did."""
    proxy = trace.ProxyTracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: proxy)
    return proxy


class TestWithoutSdk:
    def test_nothing_is_wanted(self, unconfigured):
        subscriber = TracingSubscriber()

        assert not any(map(subscriber.wants, (TaskCompleted, TasksClaimed, OutcomesSettled)))

    def test_nothing_is_set_up(self, unconfigured):
        assert not is_set_up()

    def test_scopes_do_nothing_and_rows_carry_nothing(self, unconfigured):
        subscriber = TracingSubscriber()

        assert subscriber.around(Enqueueing(QUEUE, "Resize")) is subscriber.around(Running(run_of(), None))
        assert subscriber.headers() == {}

    def test_claim_told_all_the_same_is_ignored(self, unconfigured):
        subscriber = TracingSubscriber()

        subscriber.handle(TasksClaimed(QUEUE, 1, (1,), 0.1, ()))

        assert not subscriber.wants(TasksClaimed)

    def test_provider_that_gives_no_op_tracers_counts_as_none(self):
        subscriber = TracingSubscriber(tracer_provider=trace.NoOpTracerProvider())

        assert not subscriber.wants(TaskCompleted)

    def test_sdk_that_is_disabled_counts_as_none(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        subscriber = TracingSubscriber(tracer_provider=TracerProvider(shutdown_on_exit=False))

        assert not subscriber.wants(TaskCompleted)


def test_facts_are_wanted_from_when_an_sdk_is_set_up(monkeypatch: pytest.MonkeyPatch, recording: Recording):
    providers: list[trace.TracerProvider] = [trace.ProxyTracerProvider()]
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: providers[-1])
    subscriber = TracingSubscriber()
    before = subscriber.wants(TaskCompleted)
    providers.append(recording.provider)

    assert not before
    assert subscriber.wants(TaskCompleted)


def test_only_facts_that_make_spans_are_wanted(recording: Recording):
    subscriber = TracingSubscriber(tracer_provider=recording.provider)

    assert subscriber.wants(TaskCompleted)
    assert not subscriber.wants(TaskEnqueued)


def test_context_of_spans_that_are_not_sampled_travels_on():
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    subscriber = TracingSubscriber(tracer_provider=provider)
    bus.subscribe(subscriber)
    try:
        sent = enqueue()
        put_back = postpone(sent)
        complete(put_back, attempt=2)
    finally:
        bus.unsubscribe(subscriber)

    assert int(sent["traceparent"].rsplit("-")[3], 16) & 1 == 0
    assert put_back["partisan.previous_span"] != put_back["traceparent"]


class TestLosses:
    @pytest.fixture(autouse=True)
    def _none_yet(self):
        losses.taken()
        yield
        losses.taken()

    @pytest.fixture
    def told(self):
        class Listening(bus.Subscriber):
            def __init__(self) -> None:
                self.events: list[TelemetryDropped] = []

            def wants(self, kind) -> bool:
                return kind is TelemetryDropped

            def handle(self, event) -> None:
                self.events.append(event)

        listening = Listening()
        bus.subscribe(listening)
        yield listening.events
        bus.unsubscribe(listening)

    def test_worker_hands_its_losses_up_once(self):
        subscriber = TracingSubscriber()
        losses.count(losses.QUEUE_FULL, 3)
        losses.count(losses.QUEUE_FULL, 1)

        assert subscriber.take() == ({"span_queue_full": 4}, [])
        assert subscriber.take() is None

    def test_manager_tells_a_workers_losses(self, told):
        TracingSubscriber(queue=QUEUE).absorb(2, ({"span_queue_full": 4}, []))

        assert told == [TelemetryDropped(QUEUE, "span_queue_full", 4)]

    def test_losses_left_are_told_at_the_end(self, told, recording: Recording):
        subscriber = TracingSubscriber(queue=QUEUE, tracer_provider=recording.provider)
        subscriber.absorb(2, ({"span_queue_full": 4}, []))
        subscriber.absorb(2, ({"span_queue_full": 5}, []))
        losses.count(losses.EXPORT_FAILED, 6)
        subscriber.close(5)

        assert sorted(told) == [
            TelemetryDropped(QUEUE, "span_export_failed", 6),
            TelemetryDropped(QUEUE, "span_queue_full", 4),
            TelemetryDropped(QUEUE, "span_queue_full", 5),
        ]

    def test_workers_losses_are_left_for_its_last_message(self, told, recording: Recording):
        subscriber = TracingSubscriber(slot=2, tracer_provider=recording.provider)
        losses.count(losses.EXPORT_FAILED, 6)
        subscriber.close(5)

        assert told == []
        assert subscriber.take() == ({"span_export_failed": 6}, [])

    def test_managers_own_losses_are_told_with_a_claim(self, told, recording: Recording):
        losses.count(losses.QUEUE_FULL, 1)
        bus.emit(TasksClaimed, QUEUE, 0, (), 0.1, ())

        assert told == [TelemetryDropped("default", "span_queue_full", 1)]

    def test_each_reason_is_told_at_most_once_a_minute(self, told):
        now = [100.0]
        reports = losses.Reports(QUEUE, clock=lambda: now[0])
        reports.add({"span_queue_full": 1})
        reports.add({"span_queue_full": 2, "span_export_failed": 7})
        now[0] += 59
        reports.add({"span_queue_full": 3})
        now[0] += 1
        reports.add({})

        assert [(event.reason, event.number) for event in told] == [
            ("span_queue_full", 1),
            ("span_export_failed", 7),
            ("span_queue_full", 5),
        ]


def test_runs_whose_settle_is_never_told_do_not_pile_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settling, "AWAITED_MAX", 2)
    runs = settling.RunsToSettle()
    text = f"00-{1:032x}-{1:016x}-01"
    runs.absorb([(1, text), (2, text), (3, text)])

    assert [len(runs.links([task_id])) for task_id in (1, 2, 3)] == [0, 1, 1]


def test_run_without_a_valid_span_is_not_handed_up():
    runs = settling.RunsToSettle()
    runs.end(1, trace.INVALID_SPAN)

    assert runs.taken() == []
