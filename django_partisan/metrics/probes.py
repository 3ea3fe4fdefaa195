"""Find out whether the manager is alive and ready, for ``/live`` and ``/ready``."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.snapshot import Snapshot
from django_partisan.telemetry.events.workers import WorkerExited, WorkerReady

STALLED_SECONDS: Final = 30.0
"""The longest time for a turn of the loop, and for the replacement of a worker that was ready."""
STARTING: Final = "starting"


class Readiness(bus.Subscriber):
    """The subscriber that records which slots had a ready worker.

    A recycled worker is missing for a moment; this must not make the manager unready.
    """

    name = "metrics"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._missing_since: dict[int, float | None] = {}

    def wants(self, kind: type[Event]) -> bool:
        """Return whether ``kind`` is an event of a worker that is ready or exited."""
        return kind in (WorkerReady, WorkerExited)

    def handle(self, event: Any) -> None:
        """Record that a worker is ready or has exited."""
        with self._lock:
            if isinstance(event, WorkerReady):
                self._missing_since[event.slot] = None
            elif self._missing_since.get(event.slot, 0.0) is None:
                self._missing_since[event.slot] = self._clock()

    def faults(self, snapshot: Snapshot) -> list[str]:
        """Return the reasons why the manager is not ready; empty if it is ready."""
        faults = []
        if not snapshot.database_reachable:
            faults.append("the database is not reachable")
        if snapshot.draining:
            faults.append("the manager is draining")
        recently = self._clock() - STALLED_SECONDS
        with self._lock:
            ready = {slot for slot, since in self._missing_since.items() if since is None or since > recently}
        ready.update(worker.slot for worker in snapshot.workers if worker.state != STARTING)
        missing = snapshot.workers_configured - len(ready)
        if missing > 0:
            faults.append(f"{missing} of {snapshot.workers_configured} workers are not ready")
        return faults


def stall(snapshot: Snapshot, now: float) -> str | None:
    """Return why the manager is not alive at Unix time ``now``, or ``None`` if it is."""
    age = now - snapshot.last_loop_at
    if age <= STALLED_SECONDS:
        return None
    return f"the manager's loop has not run for {age:.0f} s"
