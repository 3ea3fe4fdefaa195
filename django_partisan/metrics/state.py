"""The gauges of a manager and its workers, from one snapshot."""

from collections.abc import Iterable, Iterator

from django_partisan import registry
from django_partisan.metrics import catalogue, series
from django_partisan.metrics.families import Sample
from django_partisan.metrics.metric import OTHER
from django_partisan.metrics.resources import Resources, SlotCounter
from django_partisan.telemetry.events import Snapshot


def of_manager(snapshot: Snapshot) -> Iterator[Sample]:
    """Yield the gauges of the manager itself."""
    queue = (snapshot.queue,)
    yield catalogue.BUFFER_TASKS, queue, snapshot.buffered
    yield catalogue.BUFFER_LIMIT, queue, snapshot.buffer_limit
    yield catalogue.UNSETTLED_TASKS, queue, snapshot.unsettled
    yield catalogue.WORKERS_CONFIGURED, queue, snapshot.workers_configured
    yield catalogue.DRAINING, queue, int(snapshot.draining)
    yield catalogue.LAST_LOOP, queue, snapshot.last_loop_at
    if snapshot.last_claim_at is not None:
        yield catalogue.LAST_CLAIM, queue, snapshot.last_claim_at
    if snapshot.last_finished_at is not None:
        yield catalogue.LAST_TASK_FINISHED, queue, snapshot.last_finished_at


def of_runs(snapshot: Snapshot, processors: Iterable[str]) -> Iterator[Sample]:
    """Yield what runs and for how long, by processor; 0 for ``processors`` that do not run."""
    running = dict.fromkeys(processors, 0)
    oldest = dict.fromkeys(processors, 0.0)
    for worker in snapshot.workers:
        if worker.task is not None:
            name = worker.task.processor if worker.task.processor in registry.definitions else OTHER
            running[name] = running.get(name, 0) + 1
            oldest[name] = max(oldest.get(name, 0.0), worker.run_age_seconds)
    for name, count in running.items():
        yield catalogue.TASKS_IN_PROGRESS, (snapshot.queue, name), count
        yield catalogue.OLDEST_RUN_AGE, (snapshot.queue, name), oldest[name]


def of_workers(snapshot: Snapshot, busy: SlotCounter) -> Iterator[Sample]:
    """Yield how many workers there are in each state, and for how long each slot was busy."""
    states = dict.fromkeys(series.WORKER_STATES, 0)
    for worker in snapshot.workers:
        states[worker.state] = states.get(worker.state, 0) + 1
    for state, count in states.items():
        yield catalogue.WORKERS, (snapshot.queue, state), count
    seen = {(worker.slot, worker.generation): worker.busy_seconds for worker in snapshot.workers}
    for slot, seconds in busy.update(seen).items():
        yield catalogue.WORKER_BUSY, (snapshot.queue, str(slot)), seconds


def of_resources(snapshot: Snapshot, resources: Resources) -> Iterator[Sample]:
    """Yield what the workers use, by slot."""
    cpu, resident = resources.read(snapshot.workers)
    for slot, seconds in cpu.items():
        yield catalogue.WORKER_CPU, (snapshot.queue, str(slot)), seconds
    for slot, size in resident.items():
        yield catalogue.WORKER_MEMORY, (snapshot.queue, str(slot)), size
