"""Find tasks that are ours in the table but not in this process, after answers of the database were lost.

A claim whose answer is lost may be committed at any later time. So its token is listed, and each
heartbeat asks for tasks of ours under the listed tokens. Should any other task of ours be unknown here, the
number of our tasks that the heartbeat counts is too high: the second time in a row, all are compared.

After a lost lease, another manager may have taken over tasks whose runs go on here. Such a run is
let finish; its claim token keeps its outcome from the row. If the task returns to us meanwhile, it
waits until the run has ended, because a task never runs twice at the same time in one manager.
"""

import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final
from uuid import UUID

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.intake import Intake
from django_partisan.sql import own_claims
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.sql.leasing import RescuedTask
from django_partisan.sql.own_claims import Pair

RETRY_SECONDS: Final = 1.0


class Question(Enum):
    """What is to be asked."""

    LOST = "which tasks are ours under the tokens of calls that were not answered"
    ALL = "which tasks are ours"


class Reconciliation(Component):
    """Ask which tasks are ours after answers were lost, and take in what is found.

    ``identity`` returns the id of this manager's row, or ``None`` while the row is not confirmed.
    ``held`` returns the tasks that workers hold. While the manager drains, what is found is released, but
    an answer that is missing does not hold up the end.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        tokens: ClaimTokens,
        intake: Intake,
        held: Callable[[], list[TaskRow]],
        identity: Callable[[], UUID | None],
    ) -> None:
        self._queue = config.queue
        self._thread = thread
        self._tokens = tokens
        self._intake = intake
        self._held = held
        self._identity = identity
        self._question: Question | None = None
        self._is_asking = False
        self._ask_at = 0.0
        self._surpluses = 0

    @property
    def is_idle(self) -> bool:
        """True if there is no question."""
        has_question = self._question is not None or self._tokens.has_new_loss
        return self.is_stopped or not (has_question or self._is_asking)

    def on_heartbeat(self, claimed: int) -> None:
        """Compare how many tasks are ours by the table with how many are known here."""
        if self._tokens.lost():
            self._ask(Question.LOST)
        self._surpluses = self._surpluses + 1 if claimed > len(self._known()) else 0
        if self._surpluses >= 2:
            self.compare_all()

    def compare_all(self) -> None:
        """Ask which tasks are ours."""
        self._ask(Question.ALL)

    def turn(self, now: float) -> None:
        """Ask if there is a question."""
        self._next_at = NEVER
        if self._tokens.has_new_loss:
            self._ask(Question.LOST)
        manager = self._identity()
        if self._question is None or manager is None or self._thread.is_busy:
            return
        if now < self._ask_at:
            self._next_at = self._ask_at
            return
        question, self._question = self._question, None
        self._is_asking = True
        self._tokens.record_ends()
        lost = self._tokens.lost()
        tokens = None if question is Question.ALL else lost
        ask = partial(own_claims.claims, queue=self._queue, manager=manager, tokens=tokens)
        self._thread.submit(ask, partial(self._on_answered, question, manager, self._known()))

    def _ask(self, question: Question) -> None:
        if self._question is not Question.ALL:
            self._question = question

    def _known(self) -> set[int]:
        return set(self._intake.known_ids(self._held()))

    def _on_answered(self, question: Question, manager: UUID, known: set[int], result: Any) -> None:
        self._is_asking = False
        brought = self._tokens.answered_since()
        if isinstance(result, Exception):
            self._ask(question)
            self._ask_at = time.monotonic() + RETRY_SECONDS
            return
        self._surpluses = 0
        unknown = [pair for pair in result if pair[0] not in known and pair[1] not in brought]
        if unknown:
            token = self._tokens.draw()
            claim_again = partial(own_claims.claim_again, manager=manager, pairs=unknown, token=token)
            self._thread.submit(claim_again, partial(self._on_claimed, token, unknown))

    def _on_claimed(self, token: int, pairs: list[Pair], result: Any) -> None:
        interrupted = {task_id for task_id, old in pairs if self._tokens.is_rescue(old)}
        is_lost = isinstance(result, Exception)
        if not self._tokens.end(token, is_lost, is_rescue=bool(interrupted)) or is_lost:
            return
        self._intake.on_claimed([row for row in result if row[ID] not in interrupted])
        self._intake.on_rescued([RescuedTask(None, row) for row in result if row[ID] in interrupted])
