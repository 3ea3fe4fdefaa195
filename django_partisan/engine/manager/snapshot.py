"""Read the manager's state from any thread, for gauges and probes."""

import threading
from collections.abc import Callable
from typing import Final

from django_partisan.engine.manager.database_thread import Deliver
from django_partisan.telemetry.events import Snapshot

LOOP_ANSWER_SECONDS: Final = 0.5


class Snapshots:
    """Have the loop take a snapshot, and return it.

    A loop that does not answer in time is shown as it last was: its ``last_loop_at`` shows since when.
    """

    def __init__(self, take: Callable[[], Snapshot], deliver: Deliver) -> None:
        self._take = take
        self._deliver = deliver
        self._latest = take()

    def __call__(self) -> Snapshot:
        """Return the state now, or the last that is known."""
        taken = threading.Event()

        def take() -> None:
            self._latest = self._take()
            taken.set()

        self._deliver(take)
        taken.wait(LOOP_ANSWER_SECONDS)
        return self._latest
