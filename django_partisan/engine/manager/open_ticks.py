"""Look up about once a minute, in one of the managers, whether the tasks of ticks have ended."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import UUID

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.schedule_failures import ScheduleFailures
from django_partisan.outcomes import OPERATION_LOOK_UP
from django_partisan.sql.open_ticks import look_up

LOOK_UP_SECONDS: Final = 60.0
SLACK_SECONDS: Final = 5.0
"""A manager may look up again this much earlier than a minute after another one did."""


class OpenTicks(Component):
    """The component that looks up open ticks while heartbeats find any.

    ``identity`` returns the manager's id while it may claim, else ``None``.
    """

    def __init__(
        self, queue: str, thread: DatabaseThread, outage: Outage, identity: Callable[[], UUID | None]
    ) -> None:
        self._thread = thread
        self._outage = outage
        self._identity = identity
        self._has_any = False
        self._look_up_at = 0.0
        self._failures = ScheduleFailures(queue, OPERATION_LOOK_UP)

    def turn(self, now: float) -> None:
        """Look up open ticks if it is due."""
        if now < self.next_at():
            return
        self._look_up_at, self._has_any = now + LOOK_UP_SECONDS, False
        call = partial(look_up, interval=LOOK_UP_SECONDS - SLACK_SECONDS)
        self._thread.submit(call, self._on_looked_up)

    def next_at(self) -> float:
        """Return the monotonic time of the next lookup."""
        if not self._has_any or self.is_stopped or self._thread.is_busy or self._identity() is None:
            return NEVER
        return max(self._look_up_at, self._outage.retry_at, self._failures.retry_at)

    def on_heartbeat(self, has_any: bool) -> None:
        """Record whether there are open ticks."""
        self._has_any = has_any

    def _on_looked_up(self, result: Any) -> None:
        """Record the result; a failed lookup is repeated in the next minute, or after the pause if later."""
        if isinstance(result, Exception):
            self._failures.fail(result)
        else:
            self._failures.end()
