"""Notice connections that are of no use before calls are lost to them.

PostgreSQL may fall silent without any socket that says so: behind a proxy or a router that forwards nothing.
"""

from collections.abc import Collection
from typing import Final

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread

LOOK_SECONDS: Final = 0.02


class AnswerWatch(Component):
    """Hang up on connections whose answers are late, so that their calls fail and are made over others.

    What happened to one connection is likely to have happened to all: they are replaced, too.
    """

    def __init__(self, threads: Collection[DatabaseThread]) -> None:
        self._threads = threads
        self._look_at = 0.0

    def turn(self, now: float) -> None:
        """Hang up on late answers; look at most every ``LOOK_SECONDS``, as a busy manager has many turns."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        late = [thread for thread in self._threads if thread.hang_up_if_late(now)]
        ended = [thread for thread in self._threads if thread.take_ended()]
        for thread in self._threads:
            if late:
                thread.distrust()
            elif ended:
                thread.renew()

    def next_at(self) -> float:
        """Return the monotonic time of the next look, if an answer is awaited."""
        return self._look_at if any(thread.is_busy for thread in self._threads) else NEVER
