"""When to claim, how many, and from where; when to look ahead, and when to sleep.

In a backlog claims follow each other, each starting behind the last row claimed. When a claim comes
back short the manager looks ahead: scheduled tasks that became due are made ready, and the time of
the next is learned. Then it sleeps until a notification, that time, or ``SLEEP_DELAY_SECONDS``.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.database_thread import Line
from django_partisan.engine.manager.outage import Outage
from django_partisan.sql import claiming
from django_partisan.sql.claiming import CONTEXT, ID, PRIORITY, Ahead, TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    ClaimErrored,
    ClaimFailed,
    DatabaseRestored,
    TasksClaimed,
)

PROMOTE_AT_MOST: Final = 5000
FROM_START_SECONDS: Final = 1.0
"""How often a claim in a backlog looks at rows before the last one claimed."""
DOZE_SECONDS: Final = 0.1
"""The first look after falling asleep: an insert that began just before saw nobody asleep."""
AWAKE_AFTER_FULL_CLAIMS: Final = 3
TOLD_IDS: Final = 100


class Claimer:
    """Claim for one queue over one line; ``claimed`` gets the rows, in the loop.

    ``failed`` is called when a claim's answer may have been lost with its connection.
    """

    def __init__(
        self,
        config: QueueConfig,
        line: Line,
        identity: Callable[[], UUID],
        claimed: Callable[[list[TaskRow]], None],
        failed: Callable[[], None],
    ) -> None:
        self._config = config
        self._line = line
        self._identity = identity
        self._claimed = claimed
        self._failed = failed
        self._hungry = True
        self._behind: tuple[int, int] | None = None
        self._from_start_at = 0.0
        self._look_at = 0.0
        self._asleep = False
        self._full_claims = 0
        self._came_empty = False
        self._just_fell_asleep = False
        self._any_due = False
        self._gatherings = 0
        self._stopped = False
        self._outage = Outage()
        self.looked_from = 0.0
        """When the last look ahead that came back began; monotonic."""
        self.next_due_in: float | None = None
        """Seconds until the next scheduled task was due, when last looked."""
        self.last_claim_at: float | None = None

    @property
    def is_idle(self) -> bool:
        """True if nothing was due when last looked, and no call is under way."""
        return not (self._hungry or self._any_due or self._line.busy or self._look_at <= time.monotonic())

    @property
    def is_stopped(self) -> bool:
        """True after ``stop()``."""
        return self._stopped

    @property
    def reachable(self) -> bool:
        """False while claims fail, or wait for a database that does not answer."""
        return not self._outage.is_on

    @property
    def busy(self) -> bool:
        """True while a claim is under way, whose rows are ours already."""
        return self._line.busy

    def turn(self, now: float, room: int) -> None:
        """Start what is to be done next, if anything; ``room`` is how many tasks may be claimed."""
        if self._stopped or self._line.busy or now < self._outage.over_at:
            return
        if self._look_at <= now:
            self._look_ahead()
        elif self._hungry and room > 0:
            if self._asleep and self._full_claims >= AWAKE_AFTER_FULL_CLAIMS:
                self._publish(asleep=False)
            else:
                self._claim(now, room)
        elif not self._hungry and not self._asleep and self._config.listen:
            self._publish(asleep=True)

    def next_at(self) -> float:
        """Return the monotonic time at which ``turn()`` has something to do by itself."""
        if self._stopped or self._line.busy:
            return float("inf")
        return max(self._look_at, self._outage.over_at)

    def notified(self) -> None:
        """Note that a task was put into the queue."""
        self._hungry = True
        self._behind = None

    def expect(self, seconds: float) -> None:
        """Note that a waiting task will be due in ``seconds``."""
        self._look_at = min(self._look_at, time.monotonic() + seconds)
        self.next_due_in = seconds if self.next_due_in is None else min(self.next_due_in, seconds)

    def withheld(self, error: Exception) -> None:
        """Note that claims wait for an answer to something else, which the database did not give."""
        if not self._stopped:
            self._hungry = True
            self._tell_failure(self._outage.note(error))

    def renew(self) -> None:
        """Begin anew under a new identity, whose row says nothing of sleep."""
        self._asleep = False
        self._hungry = True

    def stop(self) -> None:
        """Claim no more; a claim under way still comes back."""
        self._stopped = True

    def _claim(self, now: float, limit: int) -> None:
        behind = self._behind
        if behind is not None and now - self._from_start_at > FROM_START_SECONDS:
            behind = None
        if behind is None:
            self._from_start_at = now
        call = partial(
            claiming.claim, queue=self._config.queue, manager=self._identity(), limit=limit, behind=behind
        )
        self._gatherings += 1
        clean = self._gatherings % self._config.checks_before_cleanup == 0
        self._line.submit(
            partial(_clean_first, call) if clean else call, partial(self._on_claim, now, limit, behind)
        )

    def _on_claim(self, started: float, limit: int, behind: tuple[int, int] | None, result: Any) -> None:
        if isinstance(result, Exception):
            bus.emit(ClaimErrored, self._config.queue)
            self._fail(result)
            return
        self._restored()
        rows: list[TaskRow] = result
        self._tell(rows, time.monotonic() - started)
        if len(rows) >= limit:
            self._full_claims += 1
            self._behind = (rows[-1][PRIORITY], rows[-1][ID])
        elif behind is not None:
            self._behind = None  # the rest may stand before the last row claimed
        else:
            self._behind = None
            self._full_claims = 0
            self._hungry = False
            self._look_at = 0.0
            self._came_empty = not rows
        if rows:
            self.last_claim_at = time.time()
            self._claimed(rows)

    def _look_ahead(self) -> None:
        now = time.monotonic()
        self._look_at = now + self._config.sleep_delay_seconds
        call = partial(claiming.look_ahead, queue=self._config.queue, limit=PROMOTE_AT_MOST)
        self._line.submit(call, partial(self._on_look, now))

    def _on_look(self, started: float, result: Any) -> None:
        if isinstance(result, Exception):
            self._fail(result)
            return
        self._restored()
        ahead: Ahead = result
        self.looked_from = started
        self.next_due_in = ahead.next_due_in
        self._any_due = ahead.any_due
        if ahead.any_due and (ahead.promoted or not self._came_empty):
            self._hungry = True
        # What is due and was not to be had, others have locked: asking at once again would spin.
        if (
            ahead.promoted >= PROMOTE_AT_MOST
            or self._just_fell_asleep
            or (ahead.any_due and not self._hungry)
        ):
            self._look_at = min(self._look_at, time.monotonic() + DOZE_SECONDS)
        if ahead.next_due_in is not None:
            self.expect(ahead.next_due_in)
        self._came_empty = self._just_fell_asleep = False

    def _publish(self, asleep: bool) -> None:
        self._asleep = asleep
        call = partial(claiming.set_sleeping, manager=self._identity(), sleeping=asleep)
        self._line.submit(call, self._on_published)

    def _on_published(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._asleep = not self._asleep
            self._fail(result)
        elif self._asleep:
            # Who looked at our row before it said so has not notified us: look once more, twice.
            self._look_at = 0.0
            self._just_fell_asleep = True
            self._full_claims = 0

    def _fail(self, error: Exception) -> None:
        self._hungry = True
        self._failed()
        self._tell_failure(self._outage.fail(error))

    def _tell_failure(self, is_first: bool) -> None:
        if is_first:
            bus.emit(ClaimFailed, self._config.queue, self._outage.error)

    def _restored(self) -> None:
        if self._outage.is_on:
            failures, seconds = self._outage.end()
            bus.emit(DatabaseRestored, self._config.queue, failures, seconds)

    def _tell(self, rows: list[TaskRow], seconds: float) -> None:
        if bus.wanted(TasksClaimed):
            contexts = tuple(row[CONTEXT] for row in rows if row[CONTEXT] is not None)
            ids = tuple(row[ID] for row in rows[:TOLD_IDS])
            bus.emit(TasksClaimed, self._config.queue, len(rows), ids, seconds, contexts)


def _clean_first(call: Callable[[BaseDatabaseWrapper], Any], connection: BaseDatabaseWrapper) -> Any:
    connection.close_if_unusable_or_obsolete()
    return call(connection)
