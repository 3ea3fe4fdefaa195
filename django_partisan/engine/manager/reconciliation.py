"""Compare the manager's tasks in the database with those in its process after answers were lost.

A claim whose answer is lost may still be committed at any later time. So its token is listed, and after each
heartbeat the manager asks for its tasks under the listed tokens. If the database has another task of this
manager that is unknown here, the heartbeat counts more tasks than are known. If that happens twice in a row,
all tasks are compared.

The commit of a claim is not flushed to disk, so PostgreSQL may forget the claim in a crash. A crash ends all
connections. So when the loss of any connection is noticed, all held tasks are compared before the next claim
begins: forgotten claims are restored, and tasks that another manager has claimed since are dropped. These
questions use the connection of the claims, so they wait for a claim under way, whose tasks are not known yet.

After the lease was lost, another manager may have taken over tasks that still run here. Such a run may
finish, but its outcome is not written, because its claim token no longer matches. If this manager claims the
task again before that, the task waits until the run has ended: a manager never runs a task twice at once.
"""

import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from django_partisan.config.queues import QueueConfig
from django_partisan.engine import boot_clock
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_call import Call, Done
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.pool import Pool
from django_partisan.sql import own_claims
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.own_claims import Pair
from django_partisan.sql.rescuing import RescuedTask

RETRY_SECONDS: Final = 1.0

_pair = itemgetter(ID, TOKEN)


class Question(Enum):
    """What to ask the database."""

    LOST = "which tasks this manager holds under the tokens of unanswered calls"
    ALL = "which tasks this manager holds"


class Reconciliation(Component):
    """The component that finds out which tasks are this manager's, after answers were lost.

    Unknown tasks are added, and lost ones dropped. While the manager drains, tasks that are found are
    released; a call under way delays its end, because the thread is busy, but a question not yet asked does
    not. ``thread`` and ``outage`` are those of the claims. ``identity`` returns the id of this manager's row,
    or ``None`` while the row is not confirmed.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        tokens: ClaimTokens,
        intake: Intake,
        pool: Pool,
        identity: Callable[[], UUID | None],
    ) -> None:
        self._queue = config.queue
        self._thread = thread
        self._outage = outage
        self._tokens = tokens
        self._intake = intake
        self._pool = pool
        self._identity = identity
        self._question: Question | None = None
        self._calls = 0
        self._losses_queried = 0
        self._query_at = 0.0
        self._comparisons_required = 0
        self._comparisons_done = 0
        self._comparisons_requested = 0
        self._has_failed = False
        self._surpluses = 0

    @property
    def is_idle(self) -> bool:
        """True if no question is open, and always while the manager drains."""
        has_question = self._question is not None or self._has_new_loss or self.must_compare
        return self.is_stopped or not (has_question or self._calls)

    @property
    def must_compare(self) -> bool:
        """True while PostgreSQL may have forgotten claims; no claims are made until all are compared."""
        return self._comparisons_required != self._comparisons_done

    def on_heartbeat(self, claimed: int) -> None:
        """Compare the number of this manager's tasks in the table, ``claimed``, with those known here."""
        if self._tokens.losses:
            self._set_question(Question.LOST)
        self._surpluses = self._surpluses + 1 if claimed > len(self._all_ids()) else 0
        if self._surpluses >= 2:
            self.compare_all()

    def compare_all(self) -> None:
        """Ask for all tasks of this manager as soon as possible."""
        self._set_question(Question.ALL)

    def require_comparison(self) -> None:
        """Record that a connection was lost, so that all known tasks are compared before the next claim."""
        self._comparisons_required += 1

    def turn(self, now: float) -> None:
        """Ask the open question, if any."""
        self._next_at = NEVER
        if self._has_new_loss:
            self._set_question(Question.LOST)
        if self._question is None and not self.must_compare:
            return
        manager = self._identity()
        if manager is None or self._thread.is_busy:
            return
        if self.must_compare:
            if self._all_ids():
                self.compare_all()
            else:
                self._comparisons_done = self._comparisons_required
        if self._question is None:
            return
        if now < self._query_at:
            self._next_at = self._query_at
            return
        question, self._question = self._question, None
        self._losses_queried = self._tokens.losses
        known = self._intake.all_tasks(self._pool.held())
        call: Call
        if question is Question.ALL:
            call = partial(own_claims.compare, queue=self._queue, manager=manager, held=known)
            self._comparisons_requested = self._comparisons_required
        else:
            call = partial(
                own_claims.claims, queue=self._queue, manager=manager, tokens=self._tokens.listed()
            )
        brought = self._tokens.begin_question()
        self._submit(call, partial(self._on_answered, question, manager, known, brought))

    @property
    def _has_new_loss(self) -> bool:
        return self._tokens.losses > self._losses_queried

    def _set_question(self, question: Question) -> None:
        if self._question is not Question.ALL:
            self._question = question

    def _all_ids(self) -> list[int]:
        return self._intake.all_ids(self._pool.held())

    def _submit(self, call: Call, done: Done) -> None:
        self._calls += 1
        self._thread.submit(call, partial(self._on_called, done))

    def _on_called(self, done: Done, result: Any) -> None:
        self._calls -= 1
        if isinstance(result, Exception):
            self._has_failed = True
            self._query_at = time.monotonic() + RETRY_SECONDS
            self._outage.note(result)
        elif self._has_failed:  # otherwise a claim failed, and an answered question does not end that outage
            self._has_failed, self._query_at = False, 0.0
            self._outage.end()
        done(result)

    def _on_answered(
        self, question: Question, manager: UUID, known: list[TaskRow], brought: set[int], result: Any
    ) -> None:
        self._tokens.end_question(brought)
        if isinstance(result, Exception) or self._identity() != manager:
            self._set_question(question)
            return
        self._surpluses = 0
        if question is Question.ALL:
            self._comparisons_done = self._comparisons_requested
            self._drop_lost(known, result)
        self._claim_again(manager, self._unknown(known, brought, result))

    def _drop_lost(self, known: list[TaskRow], ours: list[Pair]) -> None:
        """Drop tasks that were held here all the time but are not this manager's in the table."""
        held = set(map(_pair, known)).intersection(map(_pair, self._intake.unsettled(self._pool.held())))
        lost = {task_id for task_id, _ in held.difference(ours)}
        if lost:
            self._intake.revoke(lost, self._pool.workers)

    def _unknown(self, known: list[TaskRow], brought: set[int], ours: list[Pair]) -> list[Pair]:
        """Return this manager's tasks in the table that were unknown before or are no longer held here."""
        ids = {row[ID] for row in known}
        gone = set(map(_pair, known)).difference(map(_pair, self._intake.all_tasks(self._pool.held())))
        return [pair for pair in ours if pair[1] not in brought and (pair[0] not in ids or pair in gone)]

    def _claim_again(self, manager: UUID, unknown: list[Pair]) -> None:
        self._tokens.refresh(token for _, token in unknown)
        by_reason: dict[str | None, list[Pair]] = {}
        for pair in unknown:
            by_reason.setdefault(self._tokens.reason(pair[1]), []).append(pair)
        for reason, pairs in by_reason.items():
            token = self._tokens.draw(reason)
            claim_again = partial(own_claims.claim_again, manager=manager, pairs=pairs, token=token)
            self._submit(claim_again, partial(self._on_claimed, token, reason, boot_clock.now()))

    def _on_claimed(self, token: int, reason: str | None, since: float, result: Any) -> None:
        if isinstance(result, Exception):
            self._tokens.failed(token)
        elif not self._tokens.answered(token):
            return
        elif reason is None:
            self._intake.on_claimed(result, since)
        else:
            self._intake.on_rescued([RescuedTask(None, row) for row in result], since, reason)
