"""The gauges of a manager and its workers, from one snapshot."""

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from prometheus_client import ProcessCollector

from django_partisan import registry
from django_partisan.metrics import catalogue
from django_partisan.metrics.aggregator import Histogram
from django_partisan.metrics.counting import registered
from django_partisan.metrics.memory import Memory, sizes_in
from django_partisan.metrics.metric import Labels, Metric
from django_partisan.telemetry.events.snapshot import Snapshot

Sample: TypeAlias = tuple[Metric, Labels, float | Histogram | None]
"""A metric, its label values, and its value: 1 for an info metric; ``None`` (unknown) is not exported."""
Incarnation: TypeAlias = tuple[int, int]
"""A slot and a generation: one worker process."""


class SlotCounter:
    """The sum of a counter over the worker processes of each slot, which never decreases."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exited: defaultdict[int, float] = defaultdict(float)
        self._running: dict[Incarnation, float] = {}

    def update(self, seen: Mapping[Incarnation, float | None]) -> dict[int, float]:
        """Set the values of all live workers (``None`` if unknown), and return the totals by slot."""
        with self._lock:
            for slot, generation in self._running.keys() - seen.keys():
                self._exited[slot] += self._running.pop((slot, generation))
            for incarnation, value in seen.items():
                if value is not None:
                    self._running[incarnation] = max(value, self._running.get(incarnation, value))
            totals = self._exited.copy()
            for (slot, _), value in self._running.items():
                totals[slot] += value
            return dict(sorted(totals.items()))


class Peaks(dict[int, int]):
    """The peak memory of any worker of each slot, in bytes."""

    def note(self, slot: int, size: int | None) -> None:
        """Note the peak of one worker, if it is known; may be called from any thread."""
        if size is not None:
            self[slot] = max(size, self.get(slot, 0))


def of_manager(snapshot: Snapshot) -> Iterator[Sample]:
    """Yield the gauges of the manager itself; a timestamp that is not set yet is unknown."""
    queue = (snapshot.queue,)
    yield from (
        (catalogue.BUFFER_TASKS, queue, snapshot.buffered),
        (catalogue.BUFFER_LIMIT, queue, snapshot.buffer_limit),
        (catalogue.UNSETTLED_TASKS, queue, snapshot.unsettled),
        (catalogue.WORKERS_CONFIGURED, queue, snapshot.workers_configured),
        (catalogue.DRAINING, queue, snapshot.draining),
        (catalogue.QUEUE_PAUSED, queue, snapshot.paused_seconds is not None),
        (catalogue.QUEUE_PAUSED_SECONDS, queue, snapshot.paused_seconds or 0.0),
        (catalogue.LAST_LOOP, queue, snapshot.last_loop_at),
        (catalogue.LAST_CLAIM, queue, snapshot.last_claim_at),
        (catalogue.LAST_TASK_FINISHED, queue, snapshot.last_finished_at),
    )


def of_runs(snapshot: Snapshot, processors: Iterable[str]) -> Iterator[Sample]:
    """Yield how many runs are in progress and the age of the oldest, by processor; 0 if there are none."""
    ages: dict[str, list[float]] = {name: [] for name in processors}
    for worker in snapshot.workers:
        if worker.task is not None:
            _, name = registered(snapshot.queue, worker.task.processor)
            ages.setdefault(name, []).append(worker.run_age_seconds)
    for name, of_processor in ages.items():
        yield catalogue.TASKS_IN_PROGRESS, (snapshot.queue, name), len(of_processor)
        yield catalogue.OLDEST_RUN_AGE, (snapshot.queue, name), max(of_processor, default=0.0)


def of_limits(snapshot: Snapshot) -> Iterator[Sample]:
    """Yield the limits that alerts compare other metrics with; a limit that is not set has no series."""
    limits = snapshot.limits
    yield catalogue.MAX_WAIT, (snapshot.queue,), limits.max_wait_seconds
    yield catalogue.MAX_CRASHES, (snapshot.queue,), limits.max_crashes
    for name, definition in list(registry.definitions.items()):  # another thread may register more
        seconds = definition.run_limit(limits.timeout_seconds)
        if definition.queue == snapshot.queue and seconds < math.inf:
            yield catalogue.RUN_LIMIT, (snapshot.queue, name), seconds + limits.interrupt_grace_seconds


def of_memory(snapshot: Snapshot, found: Memory | None) -> Iterator[Sample]:
    """Yield the memory that the manager and its workers may use, and the memory in use, if they are known."""
    if found is not None:
        yield catalogue.MEMORY_LIMIT, (snapshot.queue,), found.limit
        yield catalogue.MEMORY_USED, (snapshot.queue,), found.used


def of_workers(snapshot: Snapshot, busy: SlotCounter) -> Iterator[Sample]:
    """Yield the number of workers in each state, and the busy time of each slot."""
    states = [worker.state for worker in snapshot.workers]
    for state in catalogue.WORKER_STATES:
        yield catalogue.WORKERS, (snapshot.queue, state), states.count(state)
    seen = {(worker.slot, worker.generation): worker.busy_seconds for worker in snapshot.workers}
    for slot, seconds in busy.update(seen).items():
        yield catalogue.WORKER_BUSY, (snapshot.queue, str(slot)), seconds


def of_processes(snapshot: Snapshot, cpu: SlotCounter, peaks: Peaks) -> Iterator[Sample]:
    """Yield CPU time and memory of workers by slot; without /proc, only the peaks of those that exited."""
    usage = {(worker.slot, worker.generation): usage_of(worker.pid) for worker in snapshot.workers}
    seconds = {who: values.get("process_cpu_seconds_total") for who, values in usage.items()}
    for slot, total in cpu.update(seconds).items():
        yield catalogue.WORKER_CPU, (snapshot.queue, str(slot)), total
    resident: defaultdict[int, float] = defaultdict(float)
    for (slot, _), values in usage.items():
        if "process_resident_memory_bytes" in values:
            resident[slot] += values["process_resident_memory_bytes"]
    for slot, size in resident.items():
        yield catalogue.WORKER_MEMORY, (snapshot.queue, str(slot)), size
    for worker in snapshot.workers:
        # Without /proc, or when it has exited, its peak is not known.
        peaks.note(worker.slot, sizes_in(Path(f"/proc/{worker.pid}/status")).get("VmHWM"))
    for slot, peak in sorted(peaks.items()):
        yield catalogue.WORKER_PEAK_MEMORY, (snapshot.queue, str(slot)), peak


def usage_of(pid: int) -> dict[str, float]:
    """Return the ``process_*`` metrics of a process by name; empty if it does not exist."""
    families = ProcessCollector(pid=lambda: pid, registry=None).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}
