"""The manager's end of the metrics: what workers sent up, and the manager's own facts."""

from typing import Any

from django_partisan.metrics import catalogue
from django_partisan.metrics.probes import Readiness
from django_partisan.metrics.recorder import Recorder
from django_partisan.metrics.totals import Totals
from django_partisan.telemetry.events import Fact, WorkerExited, WorkerReady


class ManagerRecorder(Recorder):
    """Sum what workers send up, count the manager's own facts, and remember who was ready."""

    def __init__(self, queue: str, totals: Totals, readiness: Readiness) -> None:
        super().__init__(queue)
        self.totals = totals
        self._readiness = readiness

    def wants(self, kind: type[Fact]) -> bool:
        """Want what is counted, and which workers come and go."""
        return super().wants(kind) or kind is WorkerReady

    def handle(self, fact: Any) -> None:
        """Keep the fact for the next scrape."""
        if isinstance(fact, WorkerReady | WorkerExited):
            self._readiness.note(fact)
        if not isinstance(fact, WorkerReady):
            super().handle(fact)

    def absorb(self, slot: int, value: Any) -> None:
        """Add what a worker's ``take()`` returned."""
        self.totals.add(value)
        self.totals.count(catalogue.TELEMETRY_MESSAGES, self.queue)

    def take(self) -> None:
        """Return nothing: there is nobody above the manager."""

    def flush(self) -> None:
        """Add the manager's own facts to the totals."""
        value = super().take()
        if value is not None:
            self.totals.add(value)
