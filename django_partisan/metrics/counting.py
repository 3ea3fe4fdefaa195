"""Count events: ``COUNTED`` has the function that adds each kind of event to the metrics."""

from collections.abc import Callable
from typing import Any, Final

from django_partisan import outcomes, registry
from django_partisan.metrics import catalogue, custom
from django_partisan.metrics.deltas import Deltas, Exemplar
from django_partisan.metrics.metric import HISTOGRAM, OTHER, Labels, Metric
from django_partisan.outcomes import CANCELLED, COMPLETED, FAILED, POSTPONED, RETRIED
from django_partisan.telemetry.events import managers, operators, queues, runs, tasks, telemetry, workers
from django_partisan.telemetry.events.values import Run


class EventCounter(Deltas):
    """A counter of the increases that events cause; the values of all runs in one event are added at once."""

    def __init__(self) -> None:
        super().__init__()
        self.exemplars: dict[tuple[str, str], tuple[Exemplar, Exemplar]] = {}
        """The exemplars of the duration and the wait of a traced run, by processor and outcome."""
        self._custom: dict[str, Metric] = {}

    def completed(self, event: runs.RunsCompleted) -> None:
        labels = registered(event.queue, event.processor)
        self._ended(COMPLETED, labels, event.processor, event.seconds, event.waits_seconds)
        self.count(catalogue.TASKS_COMPLETED, labels, len(event.seconds))
        self.observe(catalogue.TASK_ATTEMPTS, (event.queue,), event.attempts)

    def postponed(self, event: runs.TaskPostponed) -> None:
        self._run(POSTPONED, event)
        self.count(catalogue.TASKS_POSTPONED, of_task(event.run))

    def retried(self, event: runs.TaskRetried) -> None:
        self._run(RETRIED, event)
        self.count(catalogue.TASKS_RETRIED, of_task(event.run))
        self.count(catalogue.TASK_ERRORS, (*of_task(event.run), event.error.type, RETRIED))

    def failed(self, event: runs.TaskFailed) -> None:
        self._run(FAILED, event)
        self.count(catalogue.TASKS_FAILED, (*of_task(event.run), event.reason))
        self.count(catalogue.TASK_ERRORS, (*of_task(event.run), event.error.type, FAILED))
        # The attempts of an unsettleable task were counted with the outcome from its worker.
        if event.reason != outcomes.REASON_UNSETTLEABLE:
            self.observe(catalogue.TASK_ATTEMPTS, (event.run.queue,), [event.run.attempt])

    def cancelled(self, event: runs.TaskCancelled) -> None:
        self._run(CANCELLED, event)
        self.count(catalogue.TASKS_CANCELLED, of_task(event.run))

    def claimed(self, event: queues.TasksClaimed) -> None:
        queue = (event.queue,)
        self.count(catalogue.CLAIMS, queue)
        if event.number:
            self.count(catalogue.TASKS_CLAIMED, queue, event.number)
        else:
            self.count(catalogue.CLAIMS_EMPTY, queue)
        self.observe(catalogue.CLAIM_DURATION, queue, [event.seconds])

    def poll_found_nothing(self, event: queues.PollFoundNothing) -> None:
        self.count(catalogue.CLAIMS, (event.queue,))
        self.count(catalogue.CLAIMS_EMPTY, (event.queue,))

    def exited(self, event: workers.WorkerExited) -> None:
        self.count(catalogue.WORKER_EXITS, (event.queue, event.reason))
        if event.reason in (outcomes.REASON_ERROR, outcomes.REASON_SIGNAL):
            ran = (event.queue, catalogue.NO_TASK) if event.task is None else of_task(event.task)
            self.count(catalogue.WORKER_CRASHES, ran)

    def settled(self, event: queues.OutcomesSettled) -> None:
        self.observe(catalogue.SETTLE_DURATION, (event.queue,), [event.seconds])
        self.observe(catalogue.SETTLE_BATCH, (event.queue,), [event.number])

    def measured(self, event: runs.MetricRecorded) -> None:
        if event.name not in self._custom:  # the first, or of a processor that has been registered since
            self._custom = custom.declared(registry.definitions.values())
        metric, labels = self._custom[event.name], (event.queue, event.processor, *event.labels)
        if metric.kind == HISTOGRAM:
            self.observe(metric, labels, [event.value])
        else:
            self.count(metric, labels, event.value)

    def _run(self, outcome: str, event: Any) -> None:
        """Add the run of an event, unless it ended without one."""
        if event.seconds is not None:
            waits = [event.run.wait_seconds] if isinstance(event.run, Run) else []
            self._ended(outcome, of_task(event.run), event.run.processor, [event.seconds], waits)

    def _ended(
        self, outcome: str, labels: Labels, processor: str, durations: list[float], waits: list[float]
    ) -> None:
        of_duration = of_wait = None
        if self.exemplars:
            of_duration, of_wait = self.exemplars.pop((processor, outcome), (None, None))
        # A start is counted with its outcome: both cross the pipe in the same report anyway.
        self.count(catalogue.TASKS_STARTED, labels, len(durations))
        self.observe(catalogue.TASK_DURATION, (*labels, outcome), durations, of_duration)
        if waits:
            self.observe(catalogue.TASK_QUEUE_WAIT, labels, waits, of_wait)


def registered(queue: str, processor: str) -> tuple[str, str]:
    """Return the labels for a processor; one that is not registered counts as ``_other``."""
    return queue, processor if processor in registry.definitions else OTHER


def of_task(task: Any) -> tuple[str, str]:
    """Return the labels for an object with a queue and a processor."""
    return registered(task.queue, task.processor)


def _adds_to(metric: Metric, labels: Callable[[Any], Labels]) -> Callable[[EventCounter, Any], None]:
    """Return a function that adds an event, or the ``number`` that it has, to one counter."""
    return lambda counter, event: counter.count(metric, labels(event), getattr(event, "number", 1))


COUNTED: Final[dict[type, Callable[[EventCounter, Any], None]]] = {
    runs.RunsCompleted: EventCounter.completed,
    runs.TaskPostponed: EventCounter.postponed,
    runs.TaskRetried: EventCounter.retried,
    runs.TaskFailed: EventCounter.failed,
    tasks.TaskEnqueued: _adds_to(
        catalogue.TASKS_ENQUEUED, lambda event: (*of_task(event.task), catalogue.BOOLEANS[event.scheduled])
    ),
    tasks.TaskDeduplicated: _adds_to(catalogue.TASKS_DEDUPLICATED, lambda event: of_task(event.task)),
    tasks.TaskEnqueueFailed: _adds_to(catalogue.TASKS_ENQUEUE_FAILED, of_task),
    queues.TasksClaimed: EventCounter.claimed,
    queues.PollFoundNothing: EventCounter.poll_found_nothing,
    queues.OutcomesSettled: EventCounter.settled,
    tasks.TaskRescued: _adds_to(catalogue.TASKS_RESCUED, lambda event: (event.task.queue, event.reason)),
    queues.TasksReleased: _adds_to(catalogue.TASKS_RELEASED, lambda event: (event.queue, event.reason)),
    workers.RunInterrupted: _adds_to(
        catalogue.RUNS_INTERRUPTED, lambda event: (event.task.queue, event.reason)
    ),
    operators.TasksRequeued: _adds_to(catalogue.TASKS_REQUEUED, of_task),
    operators.TasksChanged: _adds_to(catalogue.TASKS_CHANGED, lambda event: (event.queue, event.change)),
    runs.TaskCancelled: EventCounter.cancelled,
    operators.TasksCancelled: _adds_to(catalogue.TASKS_CANCELLED, of_task),
    tasks.TaskExpired: _adds_to(catalogue.TASKS_EXPIRED, lambda event: of_task(event.task)),
    queues.TasksHeld: _adds_to(catalogue.TASKS_HELD, lambda event: (event.queue, event.reason)),
    queues.TasksPruned: _adds_to(catalogue.TASKS_PRUNED, lambda event: (event.queue, event.status)),
    tasks.TaskClaimLost: _adds_to(catalogue.TASKS_CLAIM_LOST, lambda event: (event.task.queue,)),
    queues.ClaimErrored: _adds_to(catalogue.CLAIM_ERRORS, lambda event: (event.queue,)),
    queues.SettleErrored: _adds_to(catalogue.SETTLE_ERRORS, lambda event: (event.queue,)),
    managers.LeaseLost: _adds_to(catalogue.LEASE_LOST, lambda event: (event.queue,)),
    workers.WorkerExited: EventCounter.exited,
    telemetry.PipeBroken: _adds_to(
        catalogue.TELEMETRY_DROPPED, lambda event: (event.queue, catalogue.DROPPED_PIPE)
    ),
    telemetry.TelemetryFlushTimedOut: _adds_to(
        catalogue.TELEMETRY_DROPPED, lambda event: (event.queue, catalogue.DROPPED_FLUSH)
    ),
    telemetry.TelemetryDropped: _adds_to(
        catalogue.TELEMETRY_DROPPED, lambda event: (event.queue, event.reason)
    ),
    runs.MetricRecorded: EventCounter.measured,
}
