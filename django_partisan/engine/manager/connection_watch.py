"""Detect database connections that no longer work, and replace them before more calls are lost.

PostgreSQL may stop answering without an error on the socket, for example if a proxy or router in between no
longer forwards packets.
"""

from collections.abc import Callable, Collection

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread


class ConnectionWatch(Component):
    """The component that shuts down connections whose answers are late.

    Their calls fail, and are repeated over new connections. The cause has probably affected all connections,
    so the others are replaced too. If the server closes the connection of ``pulse`` while it listens, all are
    replaced: its heartbeats keep it from idling, so the server has probably closed the others, too. After
    connections were lost, ``lost`` is called, because PostgreSQL may have crashed.
    """

    def __init__(
        self, threads: Collection[DatabaseThread], pulse: DatabaseThread, lost: Callable[[], None]
    ) -> None:
        self._threads = threads
        self._pulse = pulse
        self._on_lost = lost
        self._lost = 0

    def turn(self, now: float) -> None:
        """Shut down connections whose answers are late."""
        late = [thread for thread in self._threads if thread.shut_down_if_late(now)]
        if late:
            for thread in self._threads:
                thread.distrust()
        lost = sum([thread.lost for thread in self._threads])
        if lost != self._lost:
            self._lost = lost
            if self._pulse.take_ended():
                for thread in self._threads:
                    thread.renew()
            self._on_lost()

    def next_at(self) -> float:
        """Return the monotonic time at which the next outstanding answer becomes late."""
        return min([late_at for thread in self._threads if (late_at := thread.late_at())], default=NEVER)
