"""Find tasks that are ours in the table but not in this process, after answers of the database were lost.

A claim whose answer is lost may be committed at any later time. So its token is listed, and each
heartbeat asks for tasks of ours under the listed tokens. Should any other task of ours be unknown here, the
number of our tasks that the heartbeat counts is too high: the second time in a row, all are compared.

After a lost lease, another manager may have taken over tasks whose runs go on here. Such a run is
let finish; its claim token keeps its outcome from the row. If the task returns to us meanwhile, it
waits until the run has ended, because a task never runs twice at the same time in one manager.
"""

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final
from uuid import UUID

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.intake import Intake
from django_partisan.sql import own_claims
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.sql.leasing import RescuedTask
from django_partisan.sql.own_claims import Pair
from django_partisan.sql.tokens import new_token

RETRY_SECONDS: Final = 1.0
LISTED_AT_MOST: Final = 1000
"""How many tokens are listed; what was claimed under an older one is found by its number."""


class Question(Enum):
    """What is to be asked."""

    LOST = "which tasks are ours under the tokens of calls that were not answered"
    ALL = "which tasks are ours"


class Reconciliation(Component):
    """Draw the tokens of claims, and list those whose claim was not answered.

    ``identity`` returns the id of this manager's row, or ``None`` while the row is not confirmed.
    ``held`` returns the tasks that workers hold. While the manager drains, what is found is released, but
    an answer that is missing does not hold up the end.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        intake: Intake,
        held: Callable[[], list[TaskRow]],
        identity: Callable[[], UUID | None],
    ) -> None:
        self._queue = config.queue
        self._thread = thread
        self._intake = intake
        self._held = held
        self._identity = identity
        self._under_way: set[int] = set()
        """Tokens of calls that are not answered yet."""
        self._doubted: set[int] = set()
        """Those of the calls under way that were sent under a lease which was lost meanwhile."""
        self._ended: set[int] = set()
        """Tokens of calls that were answered after the question was asked."""
        self._lost: deque[int] = deque(maxlen=LISTED_AT_MOST)
        self._rescues: deque[int] = deque(maxlen=LISTED_AT_MOST)
        """Those of the lost tokens under which tasks of dead managers were claimed."""
        self._question: Question | None = None
        self._is_asking = False
        self._ask_at = 0.0
        self._surpluses = 0

    @property
    def claiming_id(self) -> UUID | None:
        """The manager's id to claim under; ``None`` while nothing may be claimed."""
        return self._identity()

    @property
    def is_idle(self) -> bool:
        """True if there is no question."""
        return self.is_stopped or (self._question is None and not self._is_asking)

    def draw(self) -> int:
        """Return a new token for a call; ``end()`` must be called when the call has ended."""
        token = new_token()
        self._under_way.add(token)
        return token

    def end(self, token: int, is_lost: bool = False, is_rescue: bool = False) -> bool:
        """Note that a call has ended; if it ``is_lost``, it may still make tasks ours.

        Return whether its answer still holds. After a lost lease it does not: others may have taken the
        tasks, so the table is asked which are ours.
        """
        is_doubted = token in self._doubted
        self._doubted.discard(token)
        self._under_way.discard(token)
        if self._is_asking:
            self._ended.add(token)
        if is_lost or is_doubted:
            self._lost.append(token)
            if is_rescue:
                self._rescues.append(token)
            self._ask(Question.LOST)
        return not is_doubted

    def on_heartbeat(self, claimed: int) -> None:
        """Compare how many tasks are ours by the table with how many are known here."""
        if self._lost:
            self._ask(Question.LOST)
        self._surpluses = self._surpluses + 1 if claimed > len(self._known()) else 0
        if self._surpluses >= 2:
            self.compare_all()

    def renew(self) -> None:
        """Trust no answer to what was sent under the lost lease; ask which tasks are ours."""
        self._doubted |= self._under_way
        self.compare_all()

    def compare_all(self) -> None:
        """Ask which tasks are ours."""
        self._ask(Question.ALL)

    def turn(self, now: float) -> None:
        """Ask if there is a question."""
        self._next_at = NEVER
        manager = self._identity()
        if self._question is None or manager is None or self._thread.is_busy:
            return
        if now < self._ask_at:
            self._next_at = self._ask_at
            return
        question, self._question = self._question, None
        self._is_asking = True
        self._ended = set()
        tokens = None if question is Question.ALL else list(self._lost)
        ask = partial(own_claims.claims, queue=self._queue, manager=manager, tokens=tokens)
        self._thread.submit(ask, partial(self._on_answered, question, manager, self._known()))

    def _ask(self, question: Question) -> None:
        if self._question is not Question.ALL:
            self._question = question

    def _known(self) -> set[int]:
        return set(self._intake.known_ids(self._held()))

    def _on_answered(self, question: Question, manager: UUID, known: set[int], result: Any) -> None:
        self._is_asking = False
        if isinstance(result, Exception):
            self._ask(question)
            self._ask_at = time.monotonic() + RETRY_SECONDS
            return
        self._surpluses = 0
        # The answers of these calls bring their tasks themselves, or have brought them since we asked.
        brought = self._under_way | self._ended
        unknown = [pair for pair in result if pair[0] not in known and pair[1] not in brought]
        if unknown:
            token = self.draw()
            claim_again = partial(own_claims.claim_again, manager=manager, pairs=unknown, token=token)
            self._thread.submit(claim_again, partial(self._on_claimed, token, unknown))

    def _on_claimed(self, token: int, pairs: list[Pair], result: Any) -> None:
        is_lost = isinstance(result, Exception)
        self.end(token, is_lost, is_rescue=is_lost and any(old in self._rescues for _, old in pairs))
        if is_lost:
            return
        rescued = {task_id for task_id, old in pairs if old in self._rescues}
        self._intake.on_claimed([row for row in result if row[ID] not in rescued])
        self._intake.on_rescued([RescuedTask(None, row) for row in result if row[ID] in rescued])
