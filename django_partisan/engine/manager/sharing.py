"""Limit the tasks that a manager claims ahead while other managers serve its queue.

A claimed task can run only here. So if other managers serve the queue, too, a manager claims no more than its
workers are expected to start within a second, and releases the rest while another manager sleeps.
"""

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Final

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.worker_process import State, WorkerProcess
from django_partisan.sql.claiming import PROCESSOR, TaskRow
from django_partisan.sql.leasing import OtherManager

SHARE_SECONDS: Final = 1.0
"""Seconds of expected work per worker that may be claimed and not started.

A task with unknown run time is expected to take this long, so there may be one per worker. If all workers are
busy and silent for this long, nothing more is claimed, and unstarted tasks count as surplus.
"""
CHECK_SECONDS: Final = 0.25
"""How often the buffer is examined."""
ASK_SECONDS: Final = 1.0
"""How old the last heartbeat must be before another one is sent to find out which managers sleep."""

_processor = itemgetter(PROCESSOR)


class Sharing(Component):
    """The component that limits claims, and releases tasks that another manager could start earlier.

    Heartbeats return the other managers. While the buffer holds too much, ``ask`` is called to request one:
    at most every second or, while there is no other manager, at growing intervals up to ``longest_pause``.
    """

    def __init__(
        self, intake: Intake, pool: Pool, settler: Settler, ask: Callable[[], None], longest_pause: float
    ) -> None:
        self._buffer = intake.buffer
        self._run_times = intake.run_times
        self._pool = pool
        self._settler = settler
        self._ask = ask
        self._longest_pause = longest_pause
        self._is_alone = True
        self._is_another_asleep = False
        self._ask_at = 0.0
        self._pause = ASK_SECONDS
        self._check_at = 0.0

    def on_heartbeat(self, others: Iterable[OtherManager]) -> None:
        """Record whether other managers serve the queue now, and whether one of them sleeps."""
        living = [other for other in others if other.is_serving and not other.is_expired]
        self._is_alone = not living
        self._is_another_asleep = any(other.is_sleeping for other in living)
        self._ask_at = time.monotonic() + self._pause

    def limit(self, room: int) -> int:
        """Return how many tasks may be claimed for busy workers, at most ``room``."""
        if self._is_alone or not room:
            return room
        if self._is_stuck(time.monotonic()):
            return 0
        budget = self._budget()
        expected = self._expected(self._buffer.rows())
        if expected > budget / 2:
            return 0  # prefer few claims of many tasks to many claims of few
        mean = SHARE_SECONDS if self._run_times.mean is None else self._run_times.mean
        return min(room, int((budget - expected) / mean))

    def turn(self, now: float) -> None:
        """Release the surplus if another manager sleeps; ask for a heartbeat if that is not known."""
        is_wanted, self._is_another_asleep = self._is_another_asleep, False
        if not self._buffer:
            self._pause = ASK_SECONDS
            self._next_at = NEVER
        elif is_wanted or now >= self._check_at:
            self._check_at = self._next_at = now + CHECK_SECONDS
            self._examine(now, is_wanted)

    def _examine(self, now: float, is_wanted: bool) -> None:
        surplus = self._surplus(now)
        if surplus and is_wanted:
            self._settler.release(self._buffer.take_last(surplus))
        elif surplus and now >= self._ask_at:
            self._pause = min(2 * self._pause, self._longest_pause) if self._is_alone else ASK_SECONDS
            self._ask_at = now + self._pause
            self._ask()

    def _surplus(self, now: float) -> int:
        """Return how many tasks at the end of the buffer another manager could start earlier.

        Rescued tasks are not among them, because they run before all others.
        """
        rows = self._buffer.rows()
        kept = self._buffer.rescued
        if not self._is_stuck(now):
            budget = self._budget()
            if self._expected(rows) <= budget:
                return 0
            seconds = accumulate(self._seconds(row[PROCESSOR]) for row in rows)
            kept = max(kept, bisect_right(list(seconds), budget))
        return len(rows) - kept

    def _is_stuck(self, now: float) -> bool:
        """Return whether all workers are busy and have been silent for so long that tasks should not wait."""
        workers, since = self._pool.workers, now - SHARE_SECONDS
        return bool(workers) and all(_is_busy(worker) and worker.active_at <= since for worker in workers)

    def _budget(self) -> float:
        return SHARE_SECONDS * sum(worker.state is State.READY for worker in self._pool.workers)

    def _expected(self, rows: Sequence[TaskRow]) -> float:
        counts = Counter(map(_processor, rows))
        return sum(number * self._seconds(processor) for processor, number in counts.items())

    def _seconds(self, processor: str) -> float:
        known = self._run_times.measured(processor)
        return SHARE_SECONDS if known is None else known


def _is_busy(worker: WorkerProcess) -> bool:
    return bool(worker.held) or worker.state is not State.READY
