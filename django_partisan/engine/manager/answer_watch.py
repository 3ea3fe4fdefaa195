"""Notice connections that are of no use before calls are lost to them.

PostgreSQL may fall silent without any socket that says so: behind a proxy or a router that forwards nothing.
"""

from collections.abc import Callable, Collection

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread


class AnswerWatch(Component):
    """Hang up on connections whose answers are late, so that their calls fail and are made over others.

    What happened to one connection has probably happened to all, so the others are replaced too. ``lost`` is
    called after connections were lost, since PostgreSQL may have crashed.
    """

    def __init__(self, threads: Collection[DatabaseThread], lost: Callable[[], None]) -> None:
        self._threads = threads
        self._on_lost = lost
        self._lost = 0

    def turn(self, now: float) -> None:
        """Hang up on what is late."""
        late = [thread for thread in self._threads if thread.hang_up_if_late(now)]
        if late:
            for thread in self._threads:
                thread.distrust()
        lost = sum([thread.lost for thread in self._threads])
        if lost != self._lost:
            self._lost = lost
            ended = [thread for thread in self._threads if thread.take_ended()]
            if ended:
                for thread in self._threads:
                    thread.renew()
            self._on_lost()

    def next_at(self) -> float:
        """Return the monotonic time at which the first answer is late."""
        return min([late_at for thread in self._threads if (late_at := thread.late_at())], default=NEVER)
