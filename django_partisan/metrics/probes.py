"""Whether the manager lives and is ready, for ``/live`` and ``/ready``."""

import threading
import time
from collections.abc import Callable
from typing import Final

from django_partisan.telemetry.events import Snapshot, WorkerExited, WorkerReady

STALLED_SECONDS: Final = 30.0
"""How long the loop may take for a turn; also, how long a worker that was ready may be replaced."""
STARTING: Final = "starting"


class Readiness:
    """Remember which slots had a worker that was ready.

    A worker that is recycled is gone for a moment, which must not make the manager unready.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._away_since: dict[int, float | None] = {}

    def note(self, event: WorkerReady | WorkerExited) -> None:
        """Take note of a worker that came or went."""
        with self._lock:
            if isinstance(event, WorkerReady):
                self._away_since[event.slot] = None
            elif self._away_since.get(event.slot, 0.0) is None:
                self._away_since[event.slot] = self._clock()

    def faults(self, snapshot: Snapshot) -> list[str]:
        """Return why the manager is not ready; nothing if it is."""
        faults = []
        if not snapshot.database_reachable:
            faults.append("the database is not reachable")
        if snapshot.draining:
            faults.append("the manager drains")
        ready = {worker.slot for worker in snapshot.workers if worker.state != STARTING}
        with self._lock:
            ready |= {slot for slot in self._away_since if self._was_ready_lately(slot)}
        missing = snapshot.workers_configured - len(ready)
        if missing > 0:
            faults.append(f"{missing} of {snapshot.workers_configured} workers did not say they are ready")
        return faults

    def _was_ready_lately(self, slot: int) -> bool:
        since = self._away_since[slot]
        return since is None or self._clock() - since < STALLED_SECONDS


def stall(snapshot: Snapshot, now: float) -> str | None:
    """Return why the manager is not alive at Unix time ``now``, or ``None``."""
    age = now - snapshot.last_loop_at
    if age <= STALLED_SECONDS:
        return None
    return f"the manager's loop did not turn for {age:.0f} s"
