"""Keep the rows of schedules in step with the settings of live managers.

Each heartbeat returns which live managers list schedules, and a hash of the definitions in the rows. Rows are
compared with the settings only when one of these has changed, when somebody has changed a schedule, and
every ten minutes. So a manager that was cut off corrects what others have written in the meantime.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.listing_comparison import Comparison, compare
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.schedule_failures import ScheduleFailures
from django_partisan.models.schedule import Schedule
from django_partisan.outcomes import OPERATION_COMPARE
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.sql.leasing import SchedulesState
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.schedules import ScheduleChanged

RETRY_SECONDS: Final = 1.0
"""The pause before rows that other transactions lock are compared again."""
AGAIN_SECONDS: Final = 600.0
"""How often rows are compared without a change: rows stopped long ago may have to be removed."""


class ListedSchedules(Component):
    """The component that compares the rows of schedules with ``definitions`` from this manager's settings.

    ``identity`` returns the manager's id while it may claim, else ``None``. ``changed`` is called after a
    row was changed.
    """

    def __init__(
        self,
        queue: str,
        thread: DatabaseThread,
        outage: Outage,
        definitions: Mapping[str, ScheduleDefinition],
        identity: Callable[[], UUID | None],
        changed: Callable[[], None],
    ) -> None:
        self._thread = thread
        self._outage = outage
        self._definitions = definitions
        self._identity = identity
        self._changed = changed
        self._listing: str | None = None
        self._seen: str | None = None
        self._compare_at = NEVER
        self._again_at = 0.0
        self._failures = ScheduleFailures(queue, OPERATION_COMPARE)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of the schedules that the manager's row lists, by name."""
        return {name: one.fingerprint for name, one in self._definitions.items()}

    def turn(self, now: float) -> None:
        """Start a comparison if it is due."""
        manager = self._identity()
        if manager is None or now < self.next_at():
            return
        self._compare_at = NEVER
        self._again_at = now + AGAIN_SECONDS
        make = partial(compare, manager=manager, definitions=self._definitions)
        self._thread.submit(make, partial(self._on_compared, self._seen))

    def next_at(self) -> float:
        """Return the monotonic time of the next comparison."""
        if self.is_stopped or self._thread.is_busy or self._identity() is None or self._compare_at == NEVER:
            return NEVER
        return max(self._compare_at, self._outage.retry_at, self._failures.retry_at)

    def read_now(self) -> None:
        """Compare the rows in the next turn, because somebody has changed schedules."""
        if self._definitions:
            self._compare_at = 0.0

    def on_heartbeat(self, seen: SchedulesState) -> None:
        """Request a comparison if the live managers' lists or the rows have changed, or if one is due."""
        self._seen = seen.listing
        has_changed = seen.listing != self._listing
        is_due = seen.has_any and time.monotonic() >= self._again_at
        if has_changed or is_due:
            self._compare_at = 0.0

    def _on_compared(self, listing: str | None, result: Any) -> None:
        if isinstance(result, Exception):
            self._compare_at = 0.0
            self._failures.fail(result)
            return
        comparison: Comparison = result
        self._listing = listing
        if comparison.refused:
            self._compare_at = min(self._compare_at, self._failures.leave_out(comparison.refused))
        else:
            self._failures.end()
        if comparison.is_partial:
            self._compare_at = min(self._compare_at, time.monotonic() + RETRY_SECONDS)
        for schedule, task, change, next_at in comparison.changes:
            bus.emit(ScheduleChanged, schedule, task, Schedule.ORIGIN_SETTINGS, change, next_at)
        if comparison.changes:
            self._changed()
