"""How each fact is counted."""

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
    """Add facts to ``additions``; runs of one processor and outcome many at a time."""

    def __init__(self, additions: Additions) -> None:
        self.additions = additions
        self.exemplars: dict[tuple[str, str], tuple[Exemplar, Exemplar]] = {}
        """By processor and outcome, the duration and the wait of a run that is traced."""
        self._keys: dict[tuple[str, str], Keys] = {}

    def keys(self, queue: str, processor: str) -> Keys:
        """Return the series of a processor; an unregistered one counts as ``_other``."""
        keys = self._keys.get((queue, processor))
        if keys is None:
            keys = Keys(queue, processor if processor in registry.registered() else OTHER)
            self._keys[keys.labels] = keys
        return keys

    def completed(self, fact: events.RunsCompleted) -> None:
        keys = self._runs(series.COMPLETED, fact.queue, fact.processor, fact.seconds, fact.waits_seconds)
        self.additions.count(keys.ended[series.COMPLETED], len(fact.seconds))
        self.additions.observe(keys.attempts, fact.attempts)

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

    def postponed(self, fact: events.TaskPostponed) -> None:
        keys = self._run(series.POSTPONED, fact.run, fact.seconds)
        self.additions.count(keys.ended[series.POSTPONED])

    def retried(self, fact: events.TaskRetried) -> None:
        keys = self._run(series.RETRIED, fact.run, fact.seconds)
        self.additions.count(keys.ended[series.RETRIED])
        self._error(fact.run, fact.error, series.RETRIED)

    def failed(self, fact: events.TaskFailed) -> None:
        task, seconds = fact.run, fact.seconds
        keys = self.keys(task.queue, task.processor)
        self.additions.count((catalogue.TASKS_FAILED.name, (*keys.labels, fact.reason)))
        self._error(task, fact.error, series.FAILED)
        if seconds is not None:
            self._run_that_failed(task, seconds)
        # What could not be settled was counted once, by the outcome that its worker told.
        if fact.reason != events.REASON_UNSETTLEABLE:
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

    def enqueued(self, fact: events.TaskEnqueued) -> None:
        labels = self.keys(fact.task.queue, fact.task.processor).labels
        scheduled = series.BOOLEANS[fact.scheduled]
        self.additions.count((catalogue.TASKS_ENQUEUED.name, (*labels, scheduled)))

    def deduplicated(self, fact: events.TaskDeduplicated) -> None:
        labels = self.keys(fact.task.queue, fact.task.processor).labels
        self.additions.count((catalogue.TASKS_DEDUPLICATED.name, labels))

    def enqueue_failed(self, fact: events.TaskEnqueueFailed) -> None:
        labels = self.keys(fact.queue, fact.processor).labels
        self.additions.count((catalogue.TASKS_ENQUEUE_FAILED.name, labels))

    def claimed(self, fact: events.TasksClaimed) -> None:
        self._count(catalogue.CLAIMS, fact.queue)
        if fact.number:
            self._count(catalogue.TASKS_CLAIMED, fact.queue, amount=fact.number)
        else:
            self._count(catalogue.CLAIMS_EMPTY, fact.queue)
        self.additions.observe((catalogue.CLAIM_DURATION.name, (fact.queue,)), [fact.seconds])

    def settled(self, fact: events.OutcomesSettled) -> None:
        self.additions.observe((catalogue.SETTLE_DURATION.name, (fact.queue,)), [fact.seconds])
        self.additions.observe((catalogue.SETTLE_BATCH.name, (fact.queue,)), [fact.number])

    def rescued(self, fact: events.TaskRescued) -> None:
        self._count(catalogue.TASKS_RESCUED, fact.task.queue, fact.reason)

    def released(self, fact: events.TasksReleased) -> None:
        self._count(catalogue.TASKS_RELEASED, fact.queue, fact.reason, amount=fact.number)

    def claim_lost(self, fact: events.TaskClaimLost) -> None:
        self._count(catalogue.TASKS_CLAIM_LOST, fact.task.queue)

    def claim_errored(self, fact: events.ClaimErrored) -> None:
        self._count(catalogue.CLAIM_ERRORS, fact.queue)

    def settle_errored(self, fact: events.SettleErrored) -> None:
        self._count(catalogue.SETTLE_ERRORS, fact.queue)

    def lease_lost(self, fact: events.LeaseLost) -> None:
        self._count(catalogue.LEASE_LOST, fact.queue)

    def worker_exited(self, fact: events.WorkerExited) -> None:
        self._count(catalogue.WORKER_EXITS, fact.queue, fact.reason)

    def pipe_broken(self, fact: events.PipeBroken) -> None:
        self._count(catalogue.TELEMETRY_DROPPED, fact.queue, series.DROPPED_PIPE)

    def flush_timed_out(self, fact: events.TelemetryFlushTimedOut) -> None:
        self._count(catalogue.TELEMETRY_DROPPED, fact.queue, series.DROPPED_FLUSH)

    def telemetry_dropped(self, fact: events.TelemetryDropped) -> None:
        self._count(catalogue.TELEMETRY_DROPPED, fact.queue, fact.reason, amount=fact.number)

    def measure_counted(self, fact: events.MeasureCounted) -> None:
        labels = (*self.keys(fact.queue, fact.processor).labels, *fact.labels)
        self.additions.count((fact.name, labels), fact.amount)

    def measure_observed(self, fact: events.MeasureObserved) -> None:
        labels = (*self.keys(fact.queue, fact.processor).labels, *fact.labels)
        self.additions.observe((fact.name, labels), [fact.value])

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
