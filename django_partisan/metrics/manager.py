"""The manager's end of the metrics: what workers sent up, and the manager's own events."""

from typing import Any

from django_partisan.metrics import catalogue
from django_partisan.metrics.probes import Readiness
from django_partisan.metrics.recorder import Recorder
from django_partisan.metrics.totals import Totals
from django_partisan.telemetry.events import Event, WorkerExited, WorkerReady


class ManagerRecorder(Recorder):
    """Sum what workers send up, count the manager's own events, and remember who was ready."""

    def __init__(self, queue: str, totals: Totals, readiness: Readiness) -> None:
        super().__init__(queue)
        self.totals = totals
        self._readiness = readiness

    def wants(self, kind: type[Event]) -> bool:
        """Want what is counted, and which workers come and go."""
        return super().wants(kind) or kind is WorkerReady

    def handle(self, event: Any) -> None:
        """Keep the event for the next scrape."""
        if isinstance(event, WorkerReady | WorkerExited):
            self._readiness.note(event)
        if not isinstance(event, WorkerReady):
            super().handle(event)

    def absorb(self, slot: int, value: Any) -> None:
        """Add what a worker's ``take()`` returned."""
        self.totals.add(value)
        self.totals.count(catalogue.TELEMETRY_MESSAGES, self.queue)

    def take(self) -> None:
        """Return nothing: there is nobody above the manager."""

    def flush(self) -> None:
        """Add the manager's own events to the totals."""
        value = super().take()
        if value is not None:
            self.totals.add(value)
