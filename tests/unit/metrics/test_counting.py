"""The content of a worker's report after each event."""

import marshal
import threading
import weakref
from datetime import datetime, timezone
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from django_partisan import registry
from django_partisan.metrics import catalogue, recorder
from django_partisan.metrics.custom import CounterMeasure, measures_for
from django_partisan.metrics.deltas import Deltas, add_to_buckets
from django_partisan.metrics.recorder import Recorder
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events import managers, operators, queues, runs, tasks, telemetry, workers

from .conftest import ERROR, MAIL, QUEUE, RUN, TASK, completed, processor

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
EMPTY: dict[Any, Any] = {}
ATTEMPTS = ("partisan_task_attempts", (QUEUE,))
WAIT = ("partisan_task_queue_wait_seconds", MAIL)


@pytest.fixture
def recording() -> Recorder:
    recording = Recorder(QUEUE)
    bus.subscribe(recording)
    return recording


def counters(recording: Recorder) -> dict[Any, float]:
    return (recording.take() or (EMPTY, EMPTY))[0]


def duration(outcome: str) -> tuple[str, tuple[str, ...]]:
    return "partisan_task_duration_seconds", (*MAIL, outcome)


REPORTS: dict[str, tuple[list[Any], dict[Any, float], dict[Any, Any]]] = {
    "a completed run counts as started and completed with its times": (
        [completed(0.2)],
        {("partisan_tasks_started_total", MAIL): 1, ("partisan_tasks_completed_total", MAIL): 1},
        {
            duration("completed"): [{5: 1}, 0.2, None],
            WAIT: [{1: 1}, 0.03, None],
            ATTEMPTS: [{0: 1}, 1, None],
        },
    ),
    "an unregistered processor counts as other": (
        [tasks.TaskEnqueued(TASK._replace(processor="Unknown"), NOW, True)],
        {("partisan_tasks_enqueued_total", (QUEUE, "_other", "true")): 1},
        {},
    ),
    "a postponed run counts as started": (
        [runs.TaskPostponed(RUN, 0.1, 5.0, None)],
        {("partisan_tasks_started_total", MAIL): 1, ("partisan_tasks_postponed_total", MAIL): 1},
        {duration("postponed"): [{4: 1}, 0.1, None], WAIT: [{1: 1}, 0.03, None]},
    ),
    "a retried run counts as started, with its error": (
        [runs.TaskRetried(RUN, 0.1, 5.0, 2, ERROR)],
        {
            ("partisan_tasks_started_total", MAIL): 1,
            ("partisan_tasks_retried_total", MAIL): 1,
            ("partisan_task_errors_total", (*MAIL, "shop.NotPaid", "retried")): 1,
        },
        {duration("retried"): [{4: 1}, 0.1, None], WAIT: [{1: 1}, 0.03, None]},
    ),
    "a failed run counts its reason, its error and the attempts": (
        [runs.TaskFailed(RUN._replace(attempt=4), 0.1, "retries_exhausted", ERROR)],
        {
            ("partisan_tasks_started_total", MAIL): 1,
            ("partisan_tasks_failed_total", (*MAIL, "retries_exhausted")): 1,
            ("partisan_task_errors_total", (*MAIL, "shop.NotPaid", "failed")): 1,
        },
        {
            duration("failed"): [{4: 1}, 0.1, None],
            WAIT: [{1: 1}, 0.03, None],
            ATTEMPTS: [{3: 1}, 4, None],
        },
    ),
    "a cancelled run counts as started and as no failure": (
        [runs.TaskCancelled(RUN, 0.1, ERROR)],
        {("partisan_tasks_started_total", MAIL): 1, ("partisan_tasks_cancelled_total", MAIL): 1},
        {duration("cancelled"): [{4: 1}, 0.1, None], WAIT: [{1: 1}, 0.03, None]},
    ),
    "tasks that are cancelled without a run do not count as started": (
        [operators.TasksCancelled(QUEUE, "Mail", 3, "", ()), runs.TaskCancelled(TASK, None, ERROR)],
        {("partisan_tasks_cancelled_total", MAIL): 4},
        {},
    ),
    "a task that expired counts as no start and no failure": (
        [tasks.TaskExpired(TASK)],
        {("partisan_tasks_expired_total", MAIL): 1},
        {},
    ),
    "a failure without a run does not count as started": (
        [runs.TaskFailed(TASK, None, "worker_lost", ERROR)],
        {
            ("partisan_tasks_failed_total", (*MAIL, "worker_lost")): 1,
            ("partisan_task_errors_total", (*MAIL, "shop.NotPaid", "failed")): 1,
        },
        {ATTEMPTS: [{0: 1}, 1, None]},
    ),
    "a run that the manager ended counts as started": (
        [runs.TaskFailed(TASK, 9.0, "timeout", ERROR)],
        {
            ("partisan_tasks_started_total", MAIL): 1,
            ("partisan_tasks_failed_total", (*MAIL, "timeout")): 1,
            ("partisan_task_errors_total", (*MAIL, "shop.NotPaid", "failed")): 1,
        },
        {duration("failed"): [{10: 1}, 9.0, None], ATTEMPTS: [{0: 1}, 1, None]},
    ),
    "an outcome that could not be settled does not count its attempts twice": (
        [runs.TaskFailed(TASK, None, "unsettleable", ERROR)],
        {
            ("partisan_tasks_failed_total", (*MAIL, "unsettleable")): 1,
            ("partisan_task_errors_total", (*MAIL, "shop.NotPaid", "failed")): 1,
        },
        {},
    ),
    "every enqueueing inside a task is counted": (
        [
            tasks.TaskEnqueued(TASK, NOW, True),
            tasks.TaskEnqueued(TASK, NOW, False),
            tasks.TaskDeduplicated(TASK),
            tasks.TaskEnqueueFailed(QUEUE, "", None, ERROR),
        ],
        {
            ("partisan_tasks_enqueued_total", (*MAIL, "true")): 1,
            ("partisan_tasks_enqueued_total", (*MAIL, "false")): 1,
            ("partisan_tasks_deduplicated_total", MAIL): 1,
            ("partisan_tasks_enqueue_failed_total", (QUEUE, "_other")): 1,
        },
        {},
    ),
    "claims count their rows, or that they were empty, as do polls of an idle manager": (
        [
            queues.TasksClaimed(QUEUE, 7, (), 0.002, ()),
            queues.TasksClaimed(QUEUE, 0, (), 0.001, ()),
            queues.PollFoundNothing(QUEUE),
            queues.ClaimErrored(QUEUE),
        ],
        {
            ("partisan_claims_total", (QUEUE,)): 3,
            ("partisan_tasks_claimed_total", (QUEUE,)): 7,
            ("partisan_claims_empty_total", (QUEUE,)): 2,
            ("partisan_claim_errors_total", (QUEUE,)): 1,
        },
        {("partisan_claim_duration_seconds", (QUEUE,)): [{1: 1, 2: 1}, 0.003, None]},
    ),
    "settles count their size and time": (
        [queues.OutcomesSettled(QUEUE, 50, 0.02, ()), queues.SettleErrored(QUEUE)],
        {("partisan_settle_errors_total", (QUEUE,)): 1},
        {
            ("partisan_settle_duration_seconds", (QUEUE,)): [{5: 1}, 0.02, None],
            ("partisan_settle_batch_tasks", (QUEUE,)): [{5: 1}, 50, None],
        },
    ),
    "the manager's own events are counted by reason": (
        [
            tasks.TaskRescued(TASK, "worker_lost", None),
            queues.TasksReleased(QUEUE, 3, "stopped"),
            tasks.TaskClaimLost(TASK),
            managers.LeaseLost(QUEUE, 40.0, 2),
            workers.WorkerExited(QUEUE, 0, 1, 42, 1, None, "error", None, None),
            workers.WorkerExited(QUEUE, 0, 2, 43, None, "SIGKILL", "signal", TASK, None),
            workers.WorkerExited(QUEUE, 0, 3, 44, None, "SIGKILL", "timeout", TASK, None),
            telemetry.PipeBroken(QUEUE, 0, "torn"),
            telemetry.TelemetryFlushTimedOut(QUEUE, 5.0),
            telemetry.TelemetryDropped(QUEUE, "spans", 12),
        ],
        {
            ("partisan_tasks_rescued_total", (QUEUE, "worker_lost")): 1,
            ("partisan_tasks_released_total", (QUEUE, "stopped")): 3,
            ("partisan_tasks_claim_lost_total", (QUEUE,)): 1,
            ("partisan_manager_lease_lost_total", (QUEUE,)): 1,
            ("partisan_worker_exits_total", (QUEUE, "error")): 1,
            ("partisan_worker_exits_total", (QUEUE, "signal")): 1,
            ("partisan_worker_exits_total", (QUEUE, "timeout")): 1,
            ("partisan_worker_crashes_total", (QUEUE, "_none")): 1,
            ("partisan_worker_crashes_total", MAIL): 1,
            ("partisan_telemetry_dropped_total", (QUEUE, "pipe_broken")): 1,
            ("partisan_telemetry_dropped_total", (QUEUE, "flush_timeout")): 1,
            ("partisan_telemetry_dropped_total", (QUEUE, "spans")): 12,
        },
        {},
    ),
}


@pytest.mark.parametrize("claim", REPORTS)
def test_events_are_counted(recording: Recorder, claim: str) -> None:
    emitted, of_counters, of_histograms = REPORTS[claim]

    for event in emitted:
        bus.emit(type(event), *event)

    report = recording.take()
    assert report == (of_counters, of_histograms)
    assert marshal.loads(marshal.dumps(report)) == report  # only plain values cross the pipe
    assert recording.take() is None


def test_single_runs_are_not_emitted_for_metrics(recording: Recorder) -> None:
    assert not bus.wanted(runs.TaskStarted)
    assert bus.wanted(runs.RunsCompleted)
    assert not bus.wanted(runs.TaskCompleted)


def test_runs_of_several_processors_are_counted_apart(recording: Recorder) -> None:
    for number in range(30):
        one = RUN._replace(processor=("Mail", "Report")[number % 2], attempt=1 + number % 3)
        bus.emit(runs.RunsCompleted, *completed(number / 10, one))

    report = recording.take()
    assert report is not None
    assert report[0]["partisan_tasks_completed_total", MAIL] == 15
    assert report[0]["partisan_tasks_completed_total", (QUEUE, "Report")] == 15
    buckets, total, _ = report[1][duration("completed")]
    assert sum(buckets.values()) == 15
    assert total == pytest.approx(sum(range(0, 30, 2)) / 10)
    assert report[1][ATTEMPTS] == [{0: 10, 1: 10, 2: 10}, 60, None]


def test_errors_of_subscribers_and_dropped_contexts_are_counted_once(recording: Recorder) -> None:
    swallowed.counts.update({"logs": 2, "headers": 3})
    first = counters(recording)
    swallowed.counts["logs"] += 1

    assert first == {
        ("partisan_telemetry_errors_total", ("logs",)): 2,
        ("partisan_telemetry_dropped_total", (QUEUE, "context")): 3,
    }
    assert counters(recording) == {("partisan_telemetry_errors_total", ("logs",)): 1}


def test_a_measure_of_a_processor_registered_after_the_start_is_counted(recording: Recorder) -> None:
    late = processor("Late", measures=(CounterMeasure("late", "Late."),))
    registry.register(late)

    measures_for(TASK._replace(processor="Late"), registry.definitions["Late"]).inc("late", 2)
    measures_for(TASK, registry.definitions["Mail"]).observe("size_bytes", 42)

    assert recording.take() == (
        {("partisan_user_late_total", (QUEUE, "Late")): 2},
        {("partisan_user_size_bytes", MAIL): [{1: 1}, 42, None]},
    )


def test_events_that_pile_up_are_counted_before_the_report(recording: Recorder) -> None:
    for _ in range(recorder.PENDING_MAX + 10):
        bus.emit(runs.RunsCompleted, *completed(0.2))

    assert len(recording._pending) <= 10
    assert counters(recording)["partisan_tasks_completed_total", MAIL] == recorder.PENDING_MAX + 10


def test_threads_may_emit_while_another_takes(recording: Recorder) -> None:
    def emit() -> None:
        for _ in range(2_000):
            bus.emit(runs.RunsCompleted, *completed(0.2))

    threads = [threading.Thread(target=emit) for _ in range(3)]
    total = 0.0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        total += counters(recording).get(("partisan_tasks_completed_total", MAIL), 0)
    total += counters(recording).get(("partisan_tasks_completed_total", MAIL), 0)

    assert total == 6_000


class _Refused(Exception):
    """An exception that supports weak references, as every user-defined class does."""


@pytest.mark.parametrize(
    "event",
    [
        runs.TaskRetried(RUN, 0.1, 5.0, 2, ERROR),
        runs.TaskFailed(RUN, 0.1, "error", ERROR),
        runs.TaskCancelled(RUN, 0.1, ERROR),
        tasks.TaskEnqueueFailed(QUEUE, "SendMail", 10, ERROR),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_exception_is_not_kept_until_the_next_report(recording: Recorder, event: Any) -> None:
    raised = _Refused()
    reference = weakref.ref(raised)

    recording.handle(event._replace(error=ERROR._replace(exception=raised)))
    del raised

    assert reference() is None
    assert recording.take() is not None


class _Provider(trace.NoOpTracerProvider):
    """A stand-in for a configured SDK."""


class _Span(NonRecordingSpan):
    def is_recording(self) -> bool:
        return True


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(trace, "get_tracer_provider", _Provider)
    recording = Recorder(QUEUE)
    bus.subscribe(recording)
    return recording


def complete_in(span: trace.Span, seconds: float) -> None:
    with trace.use_span(span):
        bus.emit(runs.TaskCompleted, RUN, seconds)
    bus.emit(runs.RunsCompleted, *completed(seconds))


def span_of(number: int, flag: int = TraceFlags.SAMPLED, kind: type[NonRecordingSpan] = _Span) -> trace.Span:
    return kind(SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(flag)))


@pytest.mark.parametrize(
    "span", [span_of(1, TraceFlags.DEFAULT), span_of(1, kind=NonRecordingSpan)], ids=["unsampled", "remote"]
)
def test_a_run_without_a_sampled_span_is_no_exemplar(traced: Recorder, span: trace.Span) -> None:
    complete_in(span, 0.2)
    bus.emit(queues.TasksReleased, QUEUE, 3, "stopped")

    report = traced.take()
    assert report is not None
    assert report[1][duration("completed")][2] is report[1][WAIT][2] is None


def test_the_first_sampled_run_of_each_report_is_the_exemplar(traced: Recorder) -> None:
    reports = []
    for number in (0xABC, 2):
        complete_in(span_of(number), 0.2)
        complete_in(span_of(3), 0.3)
        reports.append(traced.take())

    ids = [("0" * 29 + "abc", "0" * 13 + "abc"), ("0" * 31 + "2", "0" * 15 + "2")]
    for report, expected in zip(reports, ids, strict=True):
        assert report is not None
        assert report[1][duration("completed")][2][:3] == (*expected, 0.2)
        assert report[1][WAIT][2][:3] == (*expected, 0.03)


def test_one_report_holds_a_bounded_number_of_series() -> None:
    deltas = Deltas(max_series=3)
    for number in range(5):
        deltas.count(catalogue.TASK_ERRORS, (*MAIL, f"E{number}", "failed"))
        deltas.observe(catalogue.TASK_QUEUE_WAIT, (QUEUE, f"P{number}"), [1.0])

    report = deltas.take()
    assert report is not None
    assert report[0]["partisan_task_errors_total", (QUEUE, "_other", "_other", "failed")] == 2
    assert report[0]["partisan_telemetry_label_overflow_total", ("error_type",)] == 2
    assert report[1]["partisan_task_queue_wait_seconds", (QUEUE, "_other")] == [{5: 2}, 2.0, None]


@pytest.mark.parametrize("copies", [1, 10])
def test_a_value_that_equals_a_bound_belongs_below_it(copies: int) -> None:
    buckets: dict[int, int] = {}

    add_to_buckets(buckets, (0.1, 1.0, 2.0), [1.0, 2.0, 2.5, 0.5, 0.1] * copies)
    add_to_buckets(buckets, (0.1, 1.0, 2.0), [1.0] * copies * 10)
    add_to_buckets(buckets, (0.1, 1.0, 2.0), [])

    assert buckets == {0: copies, 1: 12 * copies, 2: copies, 3: copies}
