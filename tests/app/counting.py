"""Count the core's events in workers, and add the counts up in the manager."""

from collections import Counter
from typing import Any

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import RunsCompleted, TaskCancelled, TaskFailed, TaskRetried


class OutcomeCounts(bus.Subscriber):
    """How many runs ended in each way, by event name."""

    name = "outcome counts"

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def wants(self, kind: Any) -> bool:
        return kind in (RunsCompleted, TaskCancelled, TaskFailed, TaskRetried)

    def handle(self, event: Any) -> None:
        number = len(event.seconds) if isinstance(event, RunsCompleted) else 1
        self.counts[type(event).__name__] += number

    def take(self) -> dict[str, int] | None:
        taken, self.counts = dict(self.counts), Counter()
        return taken or None

    def absorb(self, slot: int, value: dict[str, int]) -> None:
        self.counts.update(value)


def subscribe(spec: Any) -> None:
    """Count events in a worker."""
    bus.subscribe(OutcomeCounts())
