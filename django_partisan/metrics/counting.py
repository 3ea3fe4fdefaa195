"""How each event is counted."""

from collections.abc import Callable
from typing import Any, Final

from django_partisan import registry
from django_partisan.metrics import catalogue, series
from django_partisan.metrics.additions import Additions, Exemplar
from django_partisan.metrics.metric import OTHER, Key, Metric
from django_partisan.telemetry import events


class Keys:
    """The series of one processor that every run adds to, made once."""

    def __init__(self, queue: str, processor: str) -> None:
        self.labels = labels = (queue, processor)
        self.started: Key = (catalogue.TASKS_STARTED.name, labels)
        self.wait: Key = (catalogue.TASK_QUEUE_WAIT.name, labels)
        self.attempts: Key = (catalogue.TASK_ATTEMPTS.name, (queue,))
        self.ended: dict[str, Key] = {
            series.COMPLETED: (catalogue.TASKS_COMPLETED.name, labels),
            series.POSTPONED: (catalogue.TASKS_POSTPONED.name, labels),
            series.RETRIED: (catalogue.TASKS_RETRIED.name, labels),
        }
        self.duration: dict[str, Key] = {
            outcome: (catalogue.TASK_DURATION.name, (*labels, outcome)) for outcome in series.OUTCOMES
        }


class Counting:
    """Add events to ``additions``; runs of one processor and outcome many at a time."""

    def __init__(self, additions: Additions) -> None:
        self.additions = additions
        self.exemplars: dict[tuple[str, str], tuple[Exemplar, Exemplar]] = {}
        """By processor and outcome, the duration and the wait of a run that is traced."""
        self._keys: dict[tuple[str, str], Keys] = {}

    def keys(self, queue: str, processor: str) -> Keys:
        """Return the series of a processor; an unregistered one counts as ``_other``."""
        keys = self._keys.get((queue, processor))
        if keys is None:
            keys = Keys(queue, processor if processor in registry.definitions else OTHER)
            self._keys[keys.labels] = keys
        return keys

    def completed(self, event: events.RunsCompleted) -> None:
        keys = self._runs(series.COMPLETED, event.queue, event.processor, event.seconds, event.waits_seconds)
        self.additions.count(keys.ended[series.COMPLETED], len(event.seconds))
        self.additions.observe(keys.attempts, event.attempts)

    def _run(self, outcome: str, run: events.Run, seconds: float) -> Keys:
        return self._runs(outcome, run.queue, run.processor, [seconds], [run.wait_seconds])

    def _runs(
        self, outcome: str, queue: str, processor: str, durations: list[float], waits: list[float]
    ) -> Keys:
        keys = self.keys(queue, processor)
        of_duration = of_wait = None
        if self.exemplars:
            of_duration, of_wait = self.exemplars.pop((processor, outcome), (None, None))
        # A start is counted with its end: it would cross the pipe with it at the earliest anyway.
        self.additions.count(keys.started, len(durations))
        self.additions.observe(keys.duration[outcome], durations, of_duration)
        self.additions.observe(keys.wait, waits, of_wait)
        return keys

    def postponed(self, event: events.TaskPostponed) -> None:
        keys = self._run(series.POSTPONED, event.run, event.seconds)
        self.additions.count(keys.ended[series.POSTPONED])

    def retried(self, event: events.TaskRetried) -> None:
        keys = self._run(series.RETRIED, event.run, event.seconds)
        self.additions.count(keys.ended[series.RETRIED])
        self._error(event.run, event.error, series.RETRIED)

    def failed(self, event: events.TaskFailed) -> None:
        task, seconds = event.run, event.seconds
        keys = self.keys(task.queue, task.processor)
        self.additions.count((catalogue.TASKS_FAILED.name, (*keys.labels, event.reason)))
        self._error(task, event.error, series.FAILED)
        if seconds is not None:
            self._run_that_failed(task, seconds)
        # What could not be settled was counted once, by the outcome that its worker told.
        if event.reason != events.REASON_UNSETTLEABLE:
            self.additions.observe(keys.attempts, [task.attempt])

    def _run_that_failed(self, task: events.Run | events.TaskRef, seconds: float) -> None:
        if isinstance(task, events.Run):
            self._run(series.FAILED, task, seconds)
        else:
            keys = self.keys(task.queue, task.processor)
            self.additions.count(keys.started)
            self.additions.observe(keys.duration[series.FAILED], [seconds])

    def _error(self, task: events.Run | events.TaskRef, error: events.ErrorInfo, outcome: str) -> None:
        labels = self.keys(task.queue, task.processor).labels
        self.additions.count((catalogue.TASK_ERRORS.name, (*labels, error.type, outcome)))

    def enqueued(self, event: events.TaskEnqueued) -> None:
        labels = self.keys(event.task.queue, event.task.processor).labels
        scheduled = series.BOOLEANS[event.scheduled]
        self.additions.count((catalogue.TASKS_ENQUEUED.name, (*labels, scheduled)))

    def deduplicated(self, event: events.TaskDeduplicated) -> None:
        labels = self.keys(event.task.queue, event.task.processor).labels
        self.additions.count((catalogue.TASKS_DEDUPLICATED.name, labels))

    def enqueue_failed(self, event: events.TaskEnqueueFailed) -> None:
        labels = self.keys(event.queue, event.processor).labels
        self.additions.count((catalogue.TASKS_ENQUEUE_FAILED.name, labels))

    def claimed(self, event: events.TasksClaimed) -> None:
        self._count(catalogue.CLAIMS, event.queue)
        if event.number:
            self._count(catalogue.TASKS_CLAIMED, event.queue, amount=event.number)
        else:
            self._count(catalogue.CLAIMS_EMPTY, event.queue)
        self.additions.observe((catalogue.CLAIM_DURATION.name, (event.queue,)), [event.seconds])

    def settled(self, event: events.OutcomesSettled) -> None:
        self.additions.observe((catalogue.SETTLE_DURATION.name, (event.queue,)), [event.seconds])
        self.additions.observe((catalogue.SETTLE_BATCH.name, (event.queue,)), [event.number])

    def rescued(self, event: events.TaskRescued) -> None:
        self._count(catalogue.TASKS_RESCUED, event.task.queue, event.reason)

    def released(self, event: events.TasksReleased) -> None:
        self._count(catalogue.TASKS_RELEASED, event.queue, event.reason, amount=event.number)

    def claim_lost(self, event: events.TaskClaimLost) -> None:
        self._count(catalogue.TASKS_CLAIM_LOST, event.task.queue)

    def claim_errored(self, event: events.ClaimErrored) -> None:
        self._count(catalogue.CLAIM_ERRORS, event.queue)

    def settle_errored(self, event: events.SettleErrored) -> None:
        self._count(catalogue.SETTLE_ERRORS, event.queue)

    def lease_lost(self, event: events.LeaseLost) -> None:
        self._count(catalogue.LEASE_LOST, event.queue)

    def worker_exited(self, event: events.WorkerExited) -> None:
        self._count(catalogue.WORKER_EXITS, event.queue, event.reason)

    def pipe_broken(self, event: events.PipeBroken) -> None:
        self._count(catalogue.TELEMETRY_DROPPED, event.queue, series.DROPPED_PIPE)

    def flush_timed_out(self, event: events.TelemetryFlushTimedOut) -> None:
        self._count(catalogue.TELEMETRY_DROPPED, event.queue, series.DROPPED_FLUSH)

    def telemetry_dropped(self, event: events.TelemetryDropped) -> None:
        self._count(catalogue.TELEMETRY_DROPPED, event.queue, event.reason, amount=event.number)

    def measure_counted(self, event: events.MeasureCounted) -> None:
        labels = (*self.keys(event.queue, event.processor).labels, *event.labels)
        self.additions.count((event.name, labels), event.amount)

    def measure_observed(self, event: events.MeasureObserved) -> None:
        labels = (*self.keys(event.queue, event.processor).labels, *event.labels)
        self.additions.observe((event.name, labels), [event.value])

    def _count(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        self.additions.count((metric.name, labels), amount)


COUNTED: Final[dict[type, Callable[[Counting, Any], None]]] = {
    events.RunsCompleted: Counting.completed,
    events.TaskPostponed: Counting.postponed,
    events.TaskRetried: Counting.retried,
    events.TaskFailed: Counting.failed,
    events.TaskEnqueued: Counting.enqueued,
    events.TaskDeduplicated: Counting.deduplicated,
    events.TaskEnqueueFailed: Counting.enqueue_failed,
    events.TasksClaimed: Counting.claimed,
    events.OutcomesSettled: Counting.settled,
    events.TaskRescued: Counting.rescued,
    events.TasksReleased: Counting.released,
    events.TaskClaimLost: Counting.claim_lost,
    events.ClaimErrored: Counting.claim_errored,
    events.SettleErrored: Counting.settle_errored,
    events.LeaseLost: Counting.lease_lost,
    events.WorkerExited: Counting.worker_exited,
    events.PipeBroken: Counting.pipe_broken,
    events.TelemetryFlushTimedOut: Counting.flush_timed_out,
    events.TelemetryDropped: Counting.telemetry_dropped,
    events.MeasureCounted: Counting.measure_counted,
    events.MeasureObserved: Counting.measure_observed,
}
