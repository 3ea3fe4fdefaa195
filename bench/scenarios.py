"""The measurements, for one variant at a time. Figures have the same meaning as in the peers' harness."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import processes
from bench.measurement import Failed
from bench.recorder import MODE_NOTHING, MODE_SLEEP
from bench.rows import SCHEDULED_FIRST_IN_LINE, TO_BE_PRUNED
from bench.subject import Subject

Figures = dict[str, float | None]

POLL_SECONDS = 0.02
FIRST_TASK_SECONDS = 30.0
SETTLE_SECONDS = 30.0
LATE_SECONDS = 10.0
WARM_UP_TASKS = 200
ENQUEUE_BULK_TASKS = 20_000
SHORTEST_FOR_FOREIGN_CPU = 0.3
"""The shortest run, in seconds, with enough clock ticks to attribute CPU time to processes."""


@dataclass(frozen=True)
class Options:
    """Sizes and durations of scenarios, in tasks and seconds."""

    tasks: int
    cap: float = 30.0
    retained: int = 0
    prune: int = 0
    ahead: int = 0
    held: bool = False
    managers: int = 1
    gap_ms: float = 50.0
    quiet: float = 4.0
    idle: float = 20.0

    @property
    def conditions(self) -> str:
        """The differences to a plain run, in words."""
        found = []
        if self.retained:
            found.append(f"beside {self.retained:,} finished")
        if self.prune:
            found.append(f"beside {self.prune:,} to be pruned, 2,000 per second")
        if self.ahead:
            found.append(f"beside {self.ahead:,} scheduled ahead at priority 0")
        if self.held:
            found.append("a transaction held open elsewhere")
        if self.managers > 1:
            found.append(f"{self.managers} managers")
        return ", ".join(found)


@dataclass(frozen=True)
class Reading:
    """The values of all clocks and counters at one time of a drain."""

    bodies: int
    at: float
    worker: float
    server: float
    machine: float

    @classmethod
    def of(cls, subject: Subject) -> "Reading":
        server = subject.database.pid
        return cls(
            subject.records.progress().count,
            time.monotonic(),
            processes.cpu_seconds(subject.roots),
            processes.cpu_seconds([server]) if server else math.nan,
            processes.machine_cpu_seconds(),
        )


def drain(subject: Subject, options: Options, mode: int = MODE_NOTHING) -> Figures:
    """Enqueue a backlog, start the worker, wait until every task has run and is settled."""
    _prepare(subject, options, mode)
    if options.held:
        with subject.database.held_open():
            return _drain(subject, options)
    return _drain(subject, options)


def sleep(subject: Subject, options: Options) -> Figures:
    """Drain tasks that sleep 5 ms each."""
    return drain(subject, options, MODE_SLEEP)


def enqueue(subject: Subject, options: Options) -> Figures:
    """Enqueue one by one with a commit each, then in calls of 1,000, without a worker."""
    subject.prepare()
    one, bulk = subject.call("one", options.tasks), subject.call("bulk", ENQUEUE_BULK_TASKS)
    return {
        "one": one["rate"],
        "bulk": bulk["rate"],
        "one_cpu_us": one["cpu_us"],
        "bulk_cpu_us": bulk["cpu_us"],
    }


def latency(subject: Subject, options: Options) -> Figures:
    """Measure the time from the return of the enqueue call to the start of the body, for an idle worker."""
    subject.prepare()
    subject.records.clear()
    subject.start()
    try:
        time.sleep(options.quiet)
        subject.check()
        told = subject.call("latency", options.tasks, options.gap_ms)
        _wait(lambda: len(subject.records.starts()) >= options.tasks, LATE_SECONDS)
        starts = subject.records.starts()
    finally:
        subject.stop()
    waits = sorted(
        1000 * (starts[i] - returned) for i, returned in enumerate(told["returned"]) if i in starts
    )
    if not waits:
        raise Failed(f"{subject.name}: no task ran\n{subject.log_end()}")
    return {
        "got": len(waits),
        **{
            f"p{percent}": waits[min(len(waits) - 1, len(waits) * percent // 100)] for percent in (50, 95, 99)
        },
        "max": waits[-1],
        "enqueue_p50": told["cost_p50_ms"],
    }


def idle(subject: Subject, options: Options) -> Figures:
    """Measure an idle worker, after it has run some tasks."""
    subject.prepare()
    subject.fill(WARM_UP_TASKS, MODE_NOTHING)
    subject.database.count_statements()
    subject.start()
    try:
        _wait(lambda: subject.records.progress().count >= WARM_UP_TASKS, FIRST_TASK_SECONDS)
        time.sleep(options.quiet)
        subject.check()
        before, statements = Reading.of(subject), subject.database.statements()
        transactions = subject.database.transactions()
        time.sleep(options.idle)
        subject.check()
        after, later = Reading.of(subject), subject.database.statements()
        transactions_after = subject.database.transactions()
        memory = processes.memory(subject.roots)
    finally:
        subject.stop()
    seconds = after.at - before.at
    return {
        "queries_s": None if statements is None or later is None else (later - statements) / seconds,
        "xacts_s": (transactions_after - transactions) / seconds,
        "cpu_worker_min": 60 * (after.worker - before.worker) / seconds,
        "cpu_server_min": _or_none(60 * (after.server - before.server) / seconds),
        "rss": memory.resident,
        "pss": memory.proportional,
        "nproc": memory.processes,
    }


SCENARIOS: dict[str, Callable[[Subject, Options], Figures]] = {
    "drain": drain, "latency": latency, "enqueue": enqueue, "idle": idle, "sleep": sleep,
}  # fmt: skip


def _prepare(subject: Subject, options: Options, mode: int) -> None:
    subject.prepare()
    if options.retained:
        subject.call("retain", options.retained)
    if options.prune:
        subject.database.run(TO_BE_PRUNED, options.prune)
    if options.ahead:
        subject.database.run(SCHEDULED_FIRST_IN_LINE, options.ahead)
    subject.fill(options.tasks, mode)


def _drain(subject: Subject, options: Options) -> Figures:
    subject.start()
    try:
        first = _first_task(subject)
        _wait(lambda: subject.records.progress().count >= options.tasks, options.cap)
        last, progress = Reading.of(subject), subject.records.progress()
        capped = progress.count < options.tasks
        is_settled = not capped and _wait(subject.is_settled, SETTLE_SECONDS)
        settled = time.monotonic() if is_settled else math.nan
        memory = processes.memory(subject.roots)
        distinct, repeats = subject.records.runs()
    finally:
        stop_seconds = subject.stop()
    bodies = max(1, last.bodies - first.bodies)
    seconds = last.at - first.at
    foreign = last.machine - first.machine - (last.worker - first.worker) - (last.server - first.server)
    return {
        "ran": progress.count,
        "rate": progress.rate,
        "rate_settled": _or_none(progress.count / (settled - progress.first)),
        "startup_s": progress.first - subject.started,
        "stop_s": stop_seconds,
        "cpu_worker_us": 1e6 * (last.worker - first.worker) / bodies,
        "cpu_server_us": _or_none(1e6 * (last.server - first.server) / bodies),
        "foreign_cpu": _or_none(foreign / seconds) if seconds > SHORTEST_FOR_FOREIGN_CPU else None,
        "lost": None if capped else options.tasks - distinct,
        "dup": repeats,
        "pss": memory.proportional,
        "nproc": memory.processes,
        "capped": float(capped),
    }


def _first_task(subject: Subject) -> Reading:
    deadline = time.monotonic() + FIRST_TASK_SECONDS
    while not subject.records.progress().count:
        subject.check()
        if time.monotonic() > deadline:
            raise Failed(f"{subject.name}: no task ran in {FIRST_TASK_SECONDS:.0f} s\n{subject.log_end()}")
        time.sleep(POLL_SECONDS)
    return Reading.of(subject)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
