"""Promote scheduled tasks when they are due, and keep track of when the next one is."""

import time
from functools import partial
from typing import Any, Final

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.outage import Outage
from django_partisan.sql import claiming
from django_partisan.sql.claiming import QueueCheck
from django_partisan.sql.session import answer_seconds

PROMOTE_AT_MOST: Final = 5000
SOON_SECONDS: Final = 0.1
"""The pause before a check that may have been too early or incomplete is repeated."""


class Promoter(Component):
    """The component that checks the queue every ``SLEEP_DELAY_SECONDS``, or earlier when asked.

    A check marks due scheduled tasks as ready, so that claims find them, and returns whether any task is
    ready and when the next one is due. The claimer takes the result of each check with ``take_check()``.
    """

    def __init__(
        self, config: QueueConfig, thread: DatabaseThread, outage: Outage, processors: KnownProcessors
    ) -> None:
        self._config = config
        self._thread = thread
        self._outage = outage
        self._processors = processors
        self._check_at = 0.0
        self._repeats = False
        self._check: QueueCheck | None = None
        self._any_due = False
        self._limit = BatchLimit(PROMOTE_AT_MOST)
        self._began_at = 0.0
        self.check_began_at = 0.0
        """Monotonic time at which the last completed check began."""
        self.next_due_in: float | None = None
        """Seconds until the next scheduled task is due, as of the last check; ``None`` if there is none."""

    def turn(self, now: float) -> None:
        """Check the queue if it is time."""
        if now < self._check_at or now < self.next_at():
            return
        repeats, self._repeats = self._repeats, False
        self._began_at = now
        self._check_at = now + self._config.sleep_delay_seconds
        limit = self._limit.rows
        call = partial(
            claiming.check_queue, queue=self._config.queue, limit=limit, without=self.left_to_others
        )
        self._thread.submit(call, partial(self._on_checked, now, repeats, limit))

    @property
    def left_to_others(self) -> list[str]:
        """The processors whose tasks this manager neither claims nor counts as due."""
        return self._processors.left_to_others

    def next_at(self) -> float:
        """Return the monotonic time of the next check."""
        if self.is_stopped or self._thread.is_busy:
            return NEVER
        return max(self._check_at, self._outage.retry_at)

    @property
    def is_idle(self) -> bool:
        """True if nothing was due at the last check, and no check is due or under way."""
        found_nothing = not self._any_due and self._check_at > time.monotonic()
        return not self._thread.is_busy and (self.is_stopped or found_nothing)

    def check_now(self, repeats: bool = False) -> None:
        """Check the queue in the next turn; with ``repeats``, once more shortly after that."""
        self._check_at = 0.0
        self._repeats |= repeats

    def has_checked_since(self, moment: float) -> bool:
        """Return whether the last completed check began after ``moment``; request one if none has begun."""
        if self._began_at <= moment:
            self.check_now()
        return self.check_began_at > moment

    def check_soon(self) -> None:
        """Check again within ``SOON_SECONDS``."""
        self._check_at = min(self._check_at, time.monotonic() + SOON_SECONDS)

    def expect(self, seconds: float) -> None:
        """Record that a waiting task will be due in ``seconds``."""
        self._check_at = min(self._check_at, time.monotonic() + seconds)
        self.next_due_in = seconds if self.next_due_in is None else min(self.next_due_in, seconds)

    def take_check(self) -> QueueCheck | None:
        """Return the result of the last check, begun at ``check_began_at``; ``None`` if already taken."""
        check, self._check = self._check, None
        return check

    def _on_checked(self, began_at: float, repeats: bool, limit: int, result: Any) -> None:
        if isinstance(result, Exception):
            is_early = time.monotonic() - began_at < answer_seconds(self._config.lease_seconds)
            if error := self._limit.judge(result, limit, is_early):
                self._outage.fail(error)  # the next check follows the sleep delay; claims try earlier
            else:
                self.check_now(repeats)
            return
        self._limit.finished(limit)
        if self._outage.has_paused:  # otherwise only heartbeats failed, and a check does not end that
            self._outage.end()
        untaken = self._check.promoted if self._check is not None else 0
        self._check = result._replace(promoted=result.promoted + untaken)
        self.check_began_at = began_at
        self.next_due_in = result.next_due_in
        self._any_due = result.any_due
        if repeats or result.promoted >= limit:
            self.check_soon()
        if result.next_due_in is not None:
            self.expect(result.next_due_in)
