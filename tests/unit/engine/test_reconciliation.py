"""After a lost answer or connection, our tasks in the table are compared with those known here."""

import time
from collections.abc import Sequence, Sized
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from django_partisan.engine.manager.claim_tokens import LISTED_AT_MOST, ClaimTokens
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.outage import ClaimOutage, SharedOutage
from django_partisan.engine.manager.reconciliation import RETRY_SECONDS, Reconciliation
from django_partisan.outcomes import REASON_MANAGER_LOST
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.rescuing import RescuedTask
from django_partisan.telemetry.events.managers import DatabaseRestored
from django_partisan.telemetry.events.queues import ClaimFailed
from tests.support.engine import AWAY, FakeDatabaseThread, config_of
from tests.support.events import RecordedEvents
from tests.support.rows import task_row

ONE, TWO, FIVE = task_row(1, token=11), task_row(2, token=12), task_row(5, token=15)

ONE, TWO, FIVE = task_row(1, token=11), task_row(2, token=12), task_row(5, token=15)


class Harness:
    """A reconciliation; the test acts as its manager.

    Workers hold task 1, task 2 is in the buffer, task 5 is being settled.
    """

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.tokens = ClaimTokens()
        self.id: UUID | None = uuid4()
        self.buffered = [TWO]
        self.settling = [FIVE]
        self.found: list[TaskRow] = []
        self.rescued: list[RescuedTask] = []
        self.revoked: list[set[int]] = []
        intake = SimpleNamespace(
            unsettled=lambda held: [*held, *self.buffered],
            all_tasks=lambda held: [*held, *self.buffered, *self.settling],
            all_ids=lambda held: [row[ID] for row in (*held, *self.buffered, *self.settling)],
            on_claimed=lambda rows, since: self.found.extend(rows),
            on_rescued=lambda rescued, since, reason: self.rescued.extend(rescued),
            revoke=lambda ids, workers: self.revoked.append(ids),
        )
        self.held = [ONE]
        pool = SimpleNamespace(held=lambda: self.held, workers=[])
        self.reconciliation = Reconciliation(
            config_of(),
            self.thread,
            self.outage,
            self.tokens,
            cast(Any, intake),
            cast(Any, pool),
            lambda: self.id,
        )

    def turn(self, later: float = 0.0) -> str | None:
        self.reconciliation.turn(time.monotonic() + later)
        return self.thread.pending_call

    def loses(self, reason: str | None = None) -> int:
        """Lose a call's answer; ``reason``, if any, is why its tasks were interrupted. Return its token."""
        token = self.tokens.draw(reason)
        self.tokens.failed(token)
        return token

    def is_answered(self, *pairs: tuple[int, int]) -> None:
        """Answer the next question."""
        assert self.turn() in ("claims", "compare")
        self.thread.answer(list(pairs))

    def claims_again(self, *task_ids: int) -> int:
        """Answer the pending claim with tasks; return its token."""
        assert self.thread.pending_call == "claim_again"
        token: int = self.thread.call.keywords["token"]
        self.thread.answer([task_row(task_id, token=token) for task_id in task_ids])
        return token

    def queries_tokens(self, later: float = 0.0) -> Sequence[int] | None:
        """Return the tokens in the next question; ``None`` means all."""
        if self.turn(later) == "compare":
            return None
        assert self.thread.pending_call == "claims"
        tokens: Sequence[int] = self.thread.call.keywords["tokens"]
        return tokens


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_the_tasks_of_a_claim_that_was_not_answered_are_claimed_again_under_a_new_token(harness):
    lost = harness.loses()
    assert not harness.reconciliation.is_idle
    assert harness.queries_tokens() == [lost]
    assert harness.thread.call.keywords["manager"] == harness.id
    assert not harness.reconciliation.is_idle
    harness.thread.answer([(3, lost), (4, lost)])
    assert harness.thread.call.keywords["pairs"] == [(3, lost), (4, lost)]

    token = harness.claims_again(3, 4)

    assert harness.found == [task_row(3, token=token), task_row(4, token=token)]
    assert token != lost
    assert harness.reconciliation.is_idle
    assert harness.turn() is None


def test_a_claim_that_is_committed_after_the_question_is_found_by_a_later_heartbeat(harness):
    lost = harness.loses()
    harness.is_answered()
    assert harness.turn() is None

    harness.reconciliation.on_heartbeat(2)

    assert harness.queries_tokens() == [lost]
    harness.thread.answer([(3, lost)])
    harness.claims_again(3)
    assert [row[0] for row in harness.found] == [3]


def test_a_heartbeat_asks_nothing_while_all_is_well(harness):
    for claimed in (3, 4, 2, 4):
        harness.reconciliation.on_heartbeat(claimed)

    assert harness.turn() is None
    assert harness.reconciliation.is_idle


def test_the_second_surplus_in_a_row_has_all_compared_but_for_what_is_under_way(harness):
    answered, under_way = harness.tokens.draw(), harness.tokens.draw()
    harness.reconciliation.on_heartbeat(5)
    harness.reconciliation.on_heartbeat(5)

    assert harness.queries_tokens() is None
    assert harness.tokens.answered(answered)
    later = harness.tokens.draw()
    harness.buffered = []  # task 2 has been settled
    pairs = [(1, 11), (3, answered), (4, under_way), (7, later), (6, 16)]
    harness.thread.answer(pairs)

    assert harness.thread.call.keywords["pairs"] == [(6, 16)]
    assert harness.revoked == []


def test_a_comparison_of_all_is_not_replaced_by_a_smaller_question(harness):
    harness.reconciliation.compare_all()
    harness.loses()

    assert harness.queries_tokens() is None


def test_what_a_lost_rescue_made_ours_is_taken_in_as_rescued_also_the_second_time(harness):
    rescue, claim = harness.loses(REASON_MANAGER_LOST), harness.loses()
    harness.is_answered((3, rescue), (4, claim))
    while harness.thread.calls:
        harness.thread.answer(AWAY)
    second = harness.queries_tokens(later=RETRY_SECONDS)[-2]
    harness.thread.answer([(3, second)])

    token = harness.claims_again(3)

    assert harness.rescued == [RescuedTask(None, task_row(3, token=token))]
    assert harness.found == []


def test_after_failed_attempts_to_claim_again_each_task_is_still_a_rescued_or_a_claimed_one(harness):
    rescue, claim = harness.loses(REASON_MANAGER_LOST), harness.loses()
    harness.is_answered((3, rescue), (4, claim))
    new: dict[int, int] = {}
    while harness.thread.pending_call == "claim_again":
        call = harness.thread.call.keywords
        new |= {task_id: call["token"] for task_id, _ in call["pairs"]}
        harness.thread.answer(AWAY)

    harness.turn(later=RETRY_SECONDS)
    harness.thread.answer(list(new.items()))
    while harness.thread.pending_call == "claim_again":
        harness.claims_again(*(task_id for task_id, _ in harness.thread.call.keywords["pairs"]))

    assert [row[0] for row in harness.found] == [4]
    assert [task.row[0] for task in harness.rescued] == [3]


def test_a_rescue_is_known_as_one_however_often_it_is_claimed_again_in_vain(harness):
    rescue = harness.loses(REASON_MANAGER_LOST)

    for _ in range(LISTED_AT_MOST + 1):
        assert harness.turn(later=RETRY_SECONDS) == "claims"
        harness.thread.answer([(3, rescue)])
        harness.thread.answer(AWAY)
    harness.turn(later=RETRY_SECONDS)
    harness.thread.answer([(3, rescue)])
    harness.claims_again(3)

    assert harness.found == []
    assert [task.row[0] for task in harness.rescued] == [3]


def test_after_a_failed_claim_again_the_query_is_repeated_after_a_pause(harness):
    lost = harness.loses()
    harness.is_answered((3, lost))
    harness.thread.answer(AWAY)

    assert harness.turn() is None, "or a refusal that comes at once would be asked for without a pause"
    tokens = harness.queries_tokens(later=RETRY_SECONDS)

    assert len(tokens) == 2
    harness.thread.answer([(3, tokens[1])])
    token = harness.claims_again(3)
    assert [row[TOKEN] for row in harness.found] == [token]


def test_what_is_claimed_again_under_a_lease_that_is_lost_meanwhile_is_asked_for_again(harness):
    harness.is_answered((3, harness.loses()))
    harness.tokens.distrust_all()

    token = harness.claims_again(3)

    assert harness.found == []
    assert token in harness.queries_tokens()


def test_a_question_that_is_not_answered_is_an_outage_and_asked_again_after_a_second(
    harness, recorded_events: RecordedEvents
):
    harness.loses()
    harness.turn()
    harness.thread.answer(AWAY)

    assert harness.turn() is None
    assert 0 < harness.reconciliation.next_at() - time.monotonic() <= RETRY_SECONDS
    assert harness.turn(later=RETRY_SECONDS) == "claims"
    assert harness.reconciliation.next_at() == NEVER
    harness.thread.answer([])
    assert not harness.outage.is_on
    assert [len(recorded_events.of(kind)) for kind in (ClaimFailed, DatabaseRestored)] == [1, 1]


def test_an_answer_ends_no_outage_of_others(harness):
    harness.outage.fail(AWAY)
    harness.loses()

    assert harness.turn(later=RETRY_SECONDS) == "claims"
    harness.thread.answer([])

    assert harness.outage.is_on


def test_without_a_lease_it_asks_nothing(harness):
    harness.loses()
    harness.id = None

    assert harness.turn() is None
    assert harness.reconciliation.next_at() == NEVER


def test_while_the_manager_drains_it_asks_but_does_not_hold_up_the_end(harness):
    harness.loses()
    harness.reconciliation.stop()

    assert harness.reconciliation.is_idle
    assert harness.turn() == "claims"


def test_what_is_remembered_of_answered_calls_does_not_grow(harness):
    def remembered() -> int:
        return sum(len(kept) for kept in vars(harness.tokens).values() if isinstance(kept, Sized))

    harness.reconciliation.compare_all()
    harness.is_answered()
    for _ in range(100):
        harness.tokens.answered(harness.tokens.draw())

    assert remembered() == 0


def test_after_a_lost_lease_the_table_is_asked_for_what_a_claim_under_way_has_brought(harness):
    token = harness.tokens.draw()
    harness.id = uuid4()
    harness.tokens.distrust_all()
    harness.reconciliation.compare_all()
    assert harness.queries_tokens() is None

    assert not harness.tokens.answered(token)

    harness.thread.answer([(1, 11), (2, 12), (3, token)])
    assert harness.queries_tokens() == [token]
    harness.thread.answer([(3, token)])
    harness.claims_again(3)
    assert [row[0] for row in harness.found] == [3]
    assert harness.tokens.answered(harness.tokens.draw())


def test_after_a_lost_connection_all_that_is_known_is_compared_before_the_next_claim(harness):
    harness.reconciliation.require_comparison()
    assert not harness.reconciliation.is_idle

    assert harness.turn() == "compare"

    assert harness.thread.call.keywords["held"] == [ONE, TWO, FIVE]
    harness.thread.answer(AWAY)
    assert harness.reconciliation.must_compare
    assert harness.turn(later=RETRY_SECONDS) == "compare"
    harness.reconciliation.require_comparison()  # a second doubt before the answer
    harness.thread.answer([(1, 11), (2, 12), (5, 15)])
    assert harness.reconciliation.must_compare
    harness.is_answered((1, 11), (2, 12), (5, 15))
    assert not harness.reconciliation.must_compare
    assert harness.reconciliation.is_idle
    assert harness.revoked == []


def test_a_comparison_waits_for_a_claim_under_way_whose_tasks_are_not_known_yet(harness):
    harness.held, harness.buffered, harness.settling = [], [], []
    harness.thread.submit(print, lambda result: harness.buffered.append(TWO))
    harness.reconciliation.require_comparison()

    assert harness.turn() == "print"
    harness.thread.answer(None)

    assert harness.turn() == "compare"


def test_after_a_lost_connection_a_manager_that_holds_nothing_claims_at_once(harness):
    harness.held, harness.buffered, harness.settling = [], [], []
    harness.reconciliation.require_comparison()

    assert harness.turn() is None
    assert harness.reconciliation.is_idle


def test_what_another_manager_has_by_the_table_is_dropped_unless_it_is_being_settled(harness):
    harness.reconciliation.require_comparison()

    harness.is_answered((1, 11))

    assert harness.revoked == [{2}]
    assert harness.turn() is None


def test_what_came_or_went_during_a_comparison_is_not_dropped(harness):
    harness.reconciliation.require_comparison()
    harness.turn()
    harness.held, harness.buffered = [], [task_row(2, token=13)]  # task 1 was settled, task 2 claimed again

    harness.thread.answer([])

    assert harness.revoked == []


def test_a_claim_that_was_restored_when_nobody_here_held_the_task_any_more_is_taken_in(harness):
    harness.reconciliation.require_comparison()
    harness.turn()
    harness.held = []

    harness.thread.answer([(1, 11), (2, 12)])

    assert harness.thread.call.keywords["pairs"] == [(1, 11)]
    harness.claims_again(1)
    assert [row[ID] for row in harness.found] == [1]


def test_an_answer_of_an_earlier_identity_counts_for_nothing(harness):
    harness.reconciliation.require_comparison()
    harness.turn()
    harness.id = uuid4()

    harness.thread.answer([])

    assert harness.revoked == []
    assert harness.turn() == "compare"
    assert harness.thread.call.keywords["manager"] == harness.id
