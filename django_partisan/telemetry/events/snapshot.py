"""Snapshots of a manager's state, for gauges and probes."""

from typing import NamedTuple

from django_partisan.telemetry.events.values import TaskRef


class WorkerSnapshot(NamedTuple):
    """A worker at the time of a snapshot; it has been running ``task`` for ``run_age_seconds``."""

    slot: int
    generation: int
    pid: int
    state: str
    task: TaskRef | None
    run_age_seconds: float
    busy_seconds: float


class QueueLimits(NamedTuple):
    """Queue settings that alerts compare with measured values; ``None`` if there is no such limit."""

    max_wait_seconds: float | None
    max_crashes: int
    timeout_seconds: float | None
    interrupt_grace_seconds: float


class Snapshot(NamedTuple):
    """The manager's state at one moment, for gauges and probes; ``*_at`` are Unix timestamps."""

    queue: str
    workers_configured: int
    workers: tuple[WorkerSnapshot, ...]
    buffered: int
    buffer_limit: int
    unsettled: int
    draining: bool
    database_reachable: bool
    last_loop_at: float
    last_claim_at: float | None
    last_finished_at: float | None
    limits: QueueLimits
    paused_seconds: float | None = None
    """How long the queue has been paused, in seconds; ``None`` if it is not paused."""
