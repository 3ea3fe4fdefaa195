"""What a worker counts, and what its message looks like."""

import marshal
import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from django_partisan import registry
from django_partisan.metrics import additions, recorder
from django_partisan.metrics.additions import Additions, add_to_buckets
from django_partisan.metrics.catalogue import METRICS
from django_partisan.metrics.custom import Measures
from django_partisan.metrics.recorder import Recorder
from django_partisan.telemetry import bus, events

from .conftest import ERROR, QUEUE, completed

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MAIL = (QUEUE, "Mail")
EMPTY: dict[Any, Any] = {}


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(recorder, "LOOK_FOR_TRACING_SECONDS", 0)
    recording = Recorder(QUEUE)
    bus.subscribe(recording)
    return recording


def counters(recording: Recorder) -> dict[Any, float]:
    return (recording.take() or (EMPTY, EMPTY))[0]


def test_a_completed_run_counts_as_started_and_completed_with_its_times(
    recording: Recorder, run: events.Run
) -> None:
    bus.emit(events.TaskStarted, run)
    bus.emit(events.RunsCompleted, *completed(run, 0.2))

    assert recording.take() == (
        {("partisan_tasks_started_total", MAIL): 1, ("partisan_tasks_completed_total", MAIL): 1},
        {
            ("partisan_task_duration_seconds", (*MAIL, "completed")): [{5: 1}, 0.2, None],
            ("partisan_task_queue_wait_seconds", MAIL): [{1: 1}, 0.03, None],
            ("partisan_task_attempts", (QUEUE,)): [{0: 1}, 1, None],
        },
    )


def test_nothing_counted_is_nothing_sent(recording: Recorder, run: events.Run) -> None:
    bus.emit(events.RunsCompleted, *completed(run, 0.2))
    recording.take()

    assert recording.take() is None


def test_the_start_of_a_run_is_not_even_made_a_fact(recording: Recorder) -> None:
    assert not bus.wanted(events.TaskStarted)
    assert bus.wanted(events.RunsCompleted)
    assert not bus.wanted(events.TaskCompleted)


def test_a_message_consists_of_plain_values(recording: Recorder, run: events.Run) -> None:
    bus.emit(events.RunsCompleted, *completed(run, 0.2))
    bus.emit(events.TaskFailed, run, 0.1, "error", ERROR)
    value = recording.take()

    assert marshal.loads(marshal.dumps(value)) == value


def test_many_runs_of_several_processors_are_counted_apart(recording: Recorder, run: events.Run) -> None:
    for number in range(30):
        one = run._replace(processor=("Mail", "Report")[number % 2], attempt=1 + number % 3)
        bus.emit(events.RunsCompleted, *completed(one, number / 10))
    value = recording.take()

    assert value is not None
    assert value[0]["partisan_tasks_completed_total", (QUEUE, "Mail")] == 15
    assert value[0]["partisan_tasks_completed_total", (QUEUE, "Report")] == 15
    buckets, total, _ = value[1]["partisan_task_duration_seconds", (QUEUE, "Mail", "completed")]
    assert sum(buckets.values()) == 15
    assert total == pytest.approx(sum(range(0, 30, 2)) / 10)
    assert value[1]["partisan_task_attempts", (QUEUE,)] == [{0: 10, 1: 10, 2: 10}, 60, None]


def test_an_unregistered_processor_counts_as_other(recording: Recorder, run: events.Run) -> None:
    bus.emit(events.RunsCompleted, *completed(run._replace(processor="Gone"), 0.2))

    assert ("partisan_tasks_completed_total", (QUEUE, "_other")) in counters(recording)


def test_postponed_and_retried_runs_count_as_started_too(recording: Recorder, run: events.Run) -> None:
    bus.emit(events.TaskPostponed, run, 0.1, 5.0, None)
    bus.emit(events.TaskRetried, run, 0.1, 5.0, 2, ERROR)

    assert counters(recording) == {
        ("partisan_tasks_started_total", MAIL): 2,
        ("partisan_tasks_postponed_total", MAIL): 1,
        ("partisan_tasks_retried_total", MAIL): 1,
        ("partisan_task_errors_total", (*MAIL, "shop.NotPaid", "retried")): 1,
    }


def test_a_failure_counts_its_reason_its_error_and_the_attempts(recording: Recorder, run: events.Run) -> None:
    bus.emit(events.TaskFailed, run._replace(attempt=4), 0.1, "retries_exhausted", ERROR)
    value = recording.take()

    assert value is not None
    assert value[0] == {
        ("partisan_tasks_started_total", MAIL): 1,
        ("partisan_tasks_failed_total", (*MAIL, "retries_exhausted")): 1,
        ("partisan_task_errors_total", (*MAIL, "shop.NotPaid", "failed")): 1,
    }
    assert value[1]["partisan_task_attempts", (QUEUE,)] == [{3: 1}, 4, None]


@pytest.mark.parametrize("reason", ["worker_lost", "unregistered"])
def test_a_failure_without_a_run_does_not_count_as_started(
    recording: Recorder, task: events.TaskRef, reason: str
) -> None:
    bus.emit(events.TaskFailed, task, None, reason, ERROR)
    value = recording.take()

    assert value is not None
    assert ("partisan_tasks_failed_total", (*MAIL, reason)) in value[0]
    assert ("partisan_tasks_started_total", MAIL) not in value[0]
    assert list(value[1]) == [("partisan_task_attempts", (QUEUE,))]


def test_a_run_that_the_manager_ended_counts_as_started(recording: Recorder, task: events.TaskRef) -> None:
    bus.emit(events.TaskFailed, task, 9.0, "timeout", ERROR)
    value = recording.take()

    assert value is not None
    assert value[0]["partisan_tasks_started_total", MAIL] == 1
    assert value[1]["partisan_task_duration_seconds", (*MAIL, "failed")] == [{10: 1}, 9.0, None]


def test_an_outcome_that_could_not_be_settled_does_not_count_its_attempts_twice(
    recording: Recorder, task: events.TaskRef
) -> None:
    bus.emit(events.TaskFailed, task, None, "unsettleable", ERROR)
    value = recording.take()

    assert value is not None
    assert value[1] == {}


def test_every_enqueuing_inside_a_task_is_counted(recording: Recorder, task: events.TaskRef) -> None:
    bus.emit(events.TaskEnqueued, task, NOW, True)
    bus.emit(events.TaskEnqueued, task, NOW, False)
    bus.emit(events.TaskDeduplicated, task)
    bus.emit(events.TaskEnqueueFailed, QUEUE, "", None, ERROR)

    assert counters(recording) == {
        ("partisan_tasks_enqueued_total", (*MAIL, "true")): 1,
        ("partisan_tasks_enqueued_total", (*MAIL, "false")): 1,
        ("partisan_tasks_deduplicated_total", MAIL): 1,
        ("partisan_tasks_enqueue_failed_total", (QUEUE, "_other")): 1,
    }


def test_claims_count_their_rows_or_that_they_were_empty(recording: Recorder) -> None:
    bus.emit(events.TasksClaimed, QUEUE, 7, (), 0.002, ())
    bus.emit(events.TasksClaimed, QUEUE, 0, (), 0.001, ())
    bus.emit(events.ClaimErrored, QUEUE)
    value = recording.take()

    assert value == (
        {
            ("partisan_claims_total", (QUEUE,)): 2,
            ("partisan_tasks_claimed_total", (QUEUE,)): 7,
            ("partisan_claims_empty_total", (QUEUE,)): 1,
            ("partisan_claim_errors_total", (QUEUE,)): 1,
        },
        {("partisan_claim_duration_seconds", (QUEUE,)): [{1: 1, 2: 1}, 0.003, None]},
    )


def test_settles_count_their_size_and_time(recording: Recorder) -> None:
    bus.emit(events.OutcomesSettled, QUEUE, 50, 0.02, ())
    bus.emit(events.SettleErrored, QUEUE)
    value = recording.take()

    assert value == (
        {("partisan_settle_errors_total", (QUEUE,)): 1},
        {
            ("partisan_settle_duration_seconds", (QUEUE,)): [{5: 1}, 0.02, None],
            ("partisan_settle_batch_tasks", (QUEUE,)): [{5: 1}, 50, None],
        },
    )


def test_the_manager_s_own_events_are_counted_by_reason(recording: Recorder, task: events.TaskRef) -> None:
    bus.emit(events.TaskRescued, task, "worker_lost", None)
    bus.emit(events.TasksReleased, QUEUE, 3, "stopped")
    bus.emit(events.TaskClaimLost, task)
    bus.emit(events.LeaseLost, QUEUE, 40.0, 2)
    bus.emit(events.WorkerExited, QUEUE, 0, 1, 42, 1, None, "error", None, None)
    bus.emit(events.PipeBroken, QUEUE, 0, "torn")
    bus.emit(events.TelemetryFlushTimedOut, QUEUE, 0, 1, 5.0)
    bus.emit(events.TelemetryDropped, QUEUE, "spans", 12)

    assert counters(recording) == {
        ("partisan_tasks_rescued_total", (QUEUE, "worker_lost")): 1,
        ("partisan_tasks_released_total", (QUEUE, "stopped")): 3,
        ("partisan_tasks_claim_lost_total", (QUEUE,)): 1,
        ("partisan_manager_lease_lost_total", (QUEUE,)): 1,
        ("partisan_worker_exits_total", (QUEUE, "error")): 1,
        ("partisan_telemetry_dropped_total", (QUEUE, "pipe_broken")): 1,
        ("partisan_telemetry_dropped_total", (QUEUE, "flush_timeout")): 1,
        ("partisan_telemetry_dropped_total", (QUEUE, "spans")): 12,
    }


def test_errors_that_the_seam_swallowed_are_counted_once(recording: Recorder) -> None:
    bus.swallowed.update({"logs": 2, "headers": 3})
    first = counters(recording)
    bus.swallowed["logs"] += 1

    assert first == {
        ("partisan_telemetry_errors_total", ("logs",)): 2,
        ("partisan_telemetry_dropped_total", (QUEUE, "context")): 3,
    }
    assert counters(recording) == {("partisan_telemetry_errors_total", ("logs",)): 1}


def test_a_measure_declared_after_the_start_is_counted(
    recording: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = Measures(registry.definition("Mail"), QUEUE)
    measures.inc("mails_total", 2, kind="welcome")
    measures.observe("size_bytes", 42)
    value = recording.take()

    assert value == (
        {("partisan_user_mails_total", (*MAIL, "welcome")): 2},
        {("partisan_user_size_bytes", MAIL): [{1: 1}, 42, None]},
    )


def test_facts_that_pile_up_are_counted_without_being_asked(
    recording: Recorder, run: events.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "PENDING_MAX", 10)
    for _ in range(25):
        bus.emit(events.RunsCompleted, *completed(run, 0.2))

    assert len(recording._pending) <= 10
    assert counters(recording)["partisan_tasks_completed_total", MAIL] == 25


def test_threads_may_tell_while_another_takes(recording: Recorder, run: events.Run) -> None:
    def tell() -> None:
        for _ in range(2_000):
            bus.emit(events.RunsCompleted, *completed(run, 0.2))

    threads = [threading.Thread(target=tell) for _ in range(3)]
    total = 0.0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        total += counters(recording).get(("partisan_tasks_completed_total", MAIL), 0)
    total += counters(recording).get(("partisan_tasks_completed_total", MAIL), 0)

    assert total == 6_000


class _Provider(trace.NoOpTracerProvider):
    """Stands in for a configured SDK."""


class _Span(NonRecordingSpan):
    def is_recording(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "sampled", "expected"),
    [(_Span, True, True), (_Span, False, False), (NonRecordingSpan, True, False)],
)
def test_a_run_of_a_sampled_trace_is_the_exemplar(
    recording: Recorder,
    run: events.Run,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[NonRecordingSpan],
    sampled: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", _Provider)
    bus.refresh()
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = kind(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=flags))
    with trace.use_span(span):
        bus.emit(events.TaskCompleted, run, 0.2)
    bus.emit(events.RunsCompleted, *completed(run, 0.2))
    bus.emit(events.TasksReleased, QUEUE, 3, "stopped")
    value = recording.take()

    assert value is not None
    duration = value[1]["partisan_task_duration_seconds", (*MAIL, "completed")][2]
    wait = value[1]["partisan_task_queue_wait_seconds", MAIL][2]
    if expected:
        assert duration[:3] == ("0" * 29 + "abc", "0" * 13 + "def", 0.2)
        assert wait[:3] == ("0" * 29 + "abc", "0" * 13 + "def", 0.03)
    else:
        assert duration is wait is None


def test_one_exemplar_of_each_outcome_goes_with_a_message(
    recording: Recorder, run: events.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", _Provider)
    bus.refresh()
    found = []
    for number in (1, 2):
        for seconds in (0.2, 0.3):
            context = SpanContext(number, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            with trace.use_span(_Span(context)):
                bus.emit(events.TaskCompleted, run, seconds)
        for seconds in (0.2, 0.3):
            bus.emit(events.RunsCompleted, *completed(run, seconds))
        value = recording.take()
        assert value is not None
        found.append(value[1]["partisan_task_duration_seconds", (*MAIL, "completed")][2])

    assert [(int(exemplar[0], 16), exemplar[2]) for exemplar in found] == [(1, 0.2), (2, 0.2)]


def test_one_message_holds_a_bounded_number_of_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(additions, "SERIES_MAX", 3)
    adding = Additions(METRICS)
    for number in range(5):
        adding.count(("partisan_task_errors_total", (*MAIL, f"E{number}", "failed")))
        adding.observe(("partisan_task_queue_wait_seconds", (QUEUE, f"P{number}")), [1.0])
    value = adding.drain()

    assert value is not None
    assert value[0]["partisan_task_errors_total", (QUEUE, "_other", "_other", "failed")] == 2
    assert value[0]["partisan_telemetry_label_overflow_total", ("error_type",)] == 2
    assert value[1]["partisan_task_queue_wait_seconds", (QUEUE, "_other")] == [{5: 2}, 2.0, None]


@pytest.mark.parametrize("copies", [1, 10])
def test_a_value_that_equals_a_bound_belongs_below_it(copies: int) -> None:
    buckets: dict[int, int] = {}
    add_to_buckets(buckets, (0.1, 1.0, 2.0), [1.0, 2.0, 2.5, 0.5] * copies)
    add_to_buckets(buckets, (0.1, 1.0, 2.0), [1.0] * copies * 10)

    assert buckets == {1: 12 * copies, 2: copies, 3: copies}
