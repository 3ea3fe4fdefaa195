"""Prometheus and Alertmanager, shared by all rows, and their alerts by site.

Time limits are counted in evaluations of the rules, one per second; on a busy machine they take longer.
"""

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tests.real_parts.live_stack import ALERTS
from tests.real_parts.monitoring import Alertmanager, Message, Prometheus, Webhook
from tests.real_parts.shortening import shortened
from tests.support.waiting import wait_until

T = TypeVar("T")
GROUP_WAIT: Final = "2s"
"""Alertmanager's default is 30 s; during the wait, a cause that fires a moment later can mute the alert."""
SCRAPE: Final = "2s"
"""With one second, a manager that is slow to answer on a busy machine would count as down."""
POLL_SECONDS: Final = 0.5
STANDSTILL_SECONDS: Final = 60
EVALUATED: Final = re.compile(
    rb'^prometheus_rule_group_iterations(_missed)?_total\{rule_group="[^"]+;partisan_alerts"\} (\S+)$', re.M
)


class TooLate(AssertionError):
    """The condition was not met within its number of evaluations."""


class Interrupted(Exception):
    """The game day ends before this row has ended."""


class ControlRoom:
    """Prometheus and Alertmanager with the shipped rules and inhibition, and the notifications they sent."""

    def __init__(self, folder: Path, open_parts: ExitStack) -> None:
        rules = {file.name: shortened(file.read_text()) for file in sorted(ALERTS.glob("*.yaml"))}
        self._webhook = Webhook()
        open_parts.callback(self._webhook.stop)
        alertmanager = Alertmanager(folder, self._webhook, GROUP_WAIT)
        open_parts.callback(alertmanager.stop)
        self.prometheus = Prometheus(folder, rules, alertmanager, SCRAPE)
        open_parts.callback(self.prometheus.stop)
        self.is_closing = threading.Event()
        self._lock = threading.Lock()
        self._looked_at = -POLL_SECONDS
        self._evaluations = 0

    def received(self, job: str) -> list[Message]:
        """Return the notifications of a job's alerts so far."""
        return [message for message in self._webhook.received if message["labels"].get("job") == job]

    def firing(self, job: str) -> set[str]:
        """Return the names of a job's firing or pending alerts, muted or not."""
        found = self.prometheus.query(f'ALERTS{{job="{job}"}}')
        return {series["metric"]["alertname"] for series in found}

    def wait(self, condition: Callable[[], T], evaluations: int, what: Callable[[], str]) -> T:
        """Return the first true value of ``condition``; raise ``TooLate`` after this many evaluations."""
        last = self.evaluations() + evaluations

        def check() -> T | None:
            if self.is_closing.is_set():
                raise Interrupted
            if value := condition():
                return value
            if self.evaluations() > last:
                raise TooLate(f"not within {evaluations} evaluations: {what()}")
            return None

        found = wait_until(check, STANDSTILL_SECONDS, what, every=POLL_SECONDS, progress=self.evaluations)
        assert found is not None
        return found

    def let_pass(self, evaluations: int) -> None:
        """Wait for a number of evaluations of the rules."""
        last = self.evaluations() + evaluations
        self.wait(lambda: self.evaluations() >= last, evaluations + 1, lambda: "evaluations")

    def evaluations(self) -> int:
        """Return how many times the alert rules have been evaluated."""
        with self._lock:
            if time.monotonic() - self._looked_at >= POLL_SECONDS:
                with urllib.request.urlopen(f"{self.prometheus.url}/metrics", timeout=30) as response:
                    counts = dict(EVALUATED.findall(response.read()))
                self._evaluations = int(float(counts.get(b"", 0)) - float(counts.get(b"_missed", 0)))
                self._looked_at = time.monotonic()
            return self._evaluations


@contextmanager
def control_room(folder: Path) -> Iterator[ControlRoom]:
    """Run Prometheus and Alertmanager inside a ``with`` block."""
    with ExitStack() as open_parts:
        yield ControlRoom(folder, open_parts)
