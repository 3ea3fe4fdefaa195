"""What all rows share: Prometheus, Alertmanager, and what they say of each site.

Limits are counted in evaluations of the rules, which are a second apart: on a busy machine they take longer.
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
"""By default Alertmanager waits for 30 s: a cause that comes a moment later mutes the alert that waits."""
SCRAPE: Final = "2s"
"""With a second, a manager that is slow to answer on a busy machine would count as down."""
LOOK_SECONDS: Final = 0.5
STANDSTILL_SECONDS: Final = 60
EVALUATED: Final = re.compile(
    rb'^prometheus_rule_group_iterations(_missed)?_total\{rule_group="[^"]+;partisan_alerts"\} (\S+)$', re.M
)


class TooLate(AssertionError):
    """What was awaited did not come within its evaluations."""


class Interrupted(Exception):
    """The day ends before this row did."""


class ControlRoom:
    """Prometheus and Alertmanager with the shipped rules and inhibition, and their notifications."""

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
        self._looked_at = -LOOK_SECONDS
        self._evaluations = 0

    def received(self, job: str) -> list[Message]:
        """Return what was notified of a job's alerts so far."""
        return [message for message in self._webhook.received if message["labels"].get("job") == job]

    def firing(self, job: str) -> set[str]:
        """Return the names of a job's alerts that fire or are pending, muted or not."""
        found = self.prometheus.query(f'ALERTS{{job="{job}"}}')
        return {series["metric"]["alertname"] for series in found}

    def wait(self, condition: Callable[[], T], evaluations: int, what: Callable[[], str]) -> T:
        """Return the first true value of ``condition``; raise ``TooLate`` after some evaluations."""
        last = self.evaluations() + evaluations

        def look() -> T | None:
            if self.is_closing.is_set():
                raise Interrupted
            if value := condition():
                return value
            if self.evaluations() > last:
                raise TooLate(f"not within {evaluations} evaluations: {what()}")
            return None

        found = wait_until(look, STANDSTILL_SECONDS, what, every=LOOK_SECONDS, progress=self.evaluations)
        assert found is not None
        return found

    def let_pass(self, evaluations: int) -> None:
        """Let the rules be evaluated some times."""
        last = self.evaluations() + evaluations
        self.wait(lambda: self.evaluations() >= last, evaluations + 1, lambda: "evaluations")

    def evaluations(self) -> int:
        """Return how often the alert rules have been evaluated."""
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                with urllib.request.urlopen(f"{self.prometheus.url}/metrics", timeout=30) as response:
                    counts = dict(EVALUATED.findall(response.read()))
                self._evaluations = int(float(counts.get(b"", 0)) - float(counts.get(b"_missed", 0)))
                self._looked_at = time.monotonic()
            return self._evaluations


@contextmanager
def control_room(folder: Path) -> Iterator[ControlRoom]:
    """Run Prometheus and Alertmanager for the length of a ``with`` block."""
    with ExitStack() as open_parts:
        yield ControlRoom(folder, open_parts)
