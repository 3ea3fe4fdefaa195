"""The manager's components for schedules: update rows from settings, enqueue ticks, look up ended tasks."""

from collections.abc import Callable, Mapping
from uuid import UUID

from django_partisan.engine.manager.component import Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.listed_schedules import ListedSchedules
from django_partisan.engine.manager.open_ticks import OpenTicks
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.scheduler import Scheduler
from django_partisan.schedules.configured import configured
from django_partisan.sql.leasing import SchedulesState


class ScheduleDuties:
    """The components for schedules, in the order of their turns.

    ``queue`` is the manager's queue. ``identity`` returns the manager's id while it may claim, else ``None``.
    ``enqueued`` is called with the queues of new tasks.
    """

    def __init__(
        self,
        queue: str,
        thread: DatabaseThread,
        outage: Outage,
        identity: Callable[[], UUID | None],
        enqueued: Callable[[set[str]], None],
    ) -> None:
        self._scheduler = Scheduler(queue, thread, outage, identity, enqueued)
        self._listed = ListedSchedules(
            queue, thread, outage, configured(), identity, changed=self._scheduler.read_now
        )
        self._open = OpenTicks(queue, thread, outage, identity)
        self.components: list[Component] = [self._listed, self._scheduler, self._open]

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """The fingerprints of the schedules in the settings, by name."""
        return self._listed.fingerprints

    def read_now(self) -> None:
        """Check the schedules in the next turn, because somebody has changed them."""
        self._scheduler.read_now()
        self._listed.read_now()

    def on_heartbeat(self, seen: SchedulesState) -> None:
        """Pass what a heartbeat has found to the components."""
        self._scheduler.on_heartbeat(seen.next_in)
        self._listed.on_heartbeat(seen)
        self._open.on_heartbeat(seen.has_open)
