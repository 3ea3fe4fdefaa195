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


class Play:
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
        return self.thread.asked

    def loses(self, reason: str | None = None) -> int:
        """Lose a call's answer; ``reason``, if any, is why its tasks were interrupted. Return its token."""
        token = self.tokens.draw(reason)
        self.tokens.failed(token)
        return token

    def is_told(self, *pairs: tuple[int, int]) -> None:
        """Answer the next question."""
        assert self.turn() in ("claims", "compare")
        self.thread.answer(list(pairs))

    def claims_again(self, *task_ids: int) -> int:
        """Answer the pending claim with tasks; return its token."""
        assert self.thread.asked == "claim_again"
        token: int = self.thread.call.keywords["token"]
        self.thread.answer([task_row(task_id, token=token) for task_id in task_ids])
        return token

    def asks_for(self, later: float = 0.0) -> Sequence[int] | None:
        """Return the tokens in the next question; ``None`` means all."""
        if self.turn(later) == "compare":
            return None
        assert self.thread.asked == "claims"
        tokens: Sequence[int] = self.thread.call.keywords["tokens"]
        return tokens


@pytest.fixture
def play() -> Play:
    return Play()


def test_the_tasks_of_a_claim_that_was_not_answered_are_claimed_again_under_a_new_token(play):
    lost = play.loses()
    assert not play.reconciliation.is_idle
    assert play.asks_for() == [lost]
    assert play.thread.call.keywords["manager"] == play.id
    assert not play.reconciliation.is_idle
    play.thread.answer([(3, lost), (4, lost)])
    assert play.thread.call.keywords["pairs"] == [(3, lost), (4, lost)]

    token = play.claims_again(3, 4)

    assert play.found == [task_row(3, token=token), task_row(4, token=token)]
    assert token != lost
    assert play.reconciliation.is_idle
    assert play.turn() is None


def test_a_claim_that_is_committed_after_the_question_is_found_by_a_later_heartbeat(play):
    lost = play.loses()
    play.is_told()
    assert play.turn() is None

    play.reconciliation.on_heartbeat(2)

    assert play.asks_for() == [lost]
    play.thread.answer([(3, lost)])
    play.claims_again(3)
    assert [row[0] for row in play.found] == [3]


def test_a_heartbeat_asks_nothing_while_all_is_well(play):
    for claimed in (3, 4, 2, 4):
        play.reconciliation.on_heartbeat(claimed)

    assert play.turn() is None
    assert play.reconciliation.is_idle


def test_the_second_surplus_in_a_row_has_all_compared_but_for_what_is_under_way(play):
    answered, under_way = play.tokens.draw(), play.tokens.draw()
    play.reconciliation.on_heartbeat(5)
    play.reconciliation.on_heartbeat(5)

    assert play.asks_for() is None
    assert play.tokens.answered(answered)
    later = play.tokens.draw()
    play.buffered = []  # task 2 has been settled
    pairs = [(1, 11), (3, answered), (4, under_way), (7, later), (6, 16)]
    play.thread.answer(pairs)

    assert play.thread.call.keywords["pairs"] == [(6, 16)]
    assert play.revoked == []


def test_a_comparison_of_all_is_not_replaced_by_a_smaller_question(play):
    play.reconciliation.compare_all()
    play.loses()

    assert play.asks_for() is None


def test_what_a_lost_rescue_made_ours_is_taken_in_as_rescued_also_the_second_time(play):
    rescue, claim = play.loses(REASON_MANAGER_LOST), play.loses()
    play.is_told((3, rescue), (4, claim))
    while play.thread.calls:
        play.thread.answer(AWAY)
    second = play.asks_for(later=RETRY_SECONDS)[-2]
    play.thread.answer([(3, second)])

    token = play.claims_again(3)

    assert play.rescued == [RescuedTask(None, task_row(3, token=token))]
    assert play.found == []


def test_what_is_claimed_again_in_vain_is_taken_in_as_what_each_task_was(play):
    rescue, claim = play.loses(REASON_MANAGER_LOST), play.loses()
    play.is_told((3, rescue), (4, claim))
    new: dict[int, int] = {}
    while play.thread.asked == "claim_again":
        call = play.thread.call.keywords
        new |= {task_id: call["token"] for task_id, _ in call["pairs"]}
        play.thread.answer(AWAY)

    play.turn(later=RETRY_SECONDS)
    play.thread.answer(list(new.items()))
    while play.thread.asked == "claim_again":
        play.claims_again(*(task_id for task_id, _ in play.thread.call.keywords["pairs"]))

    assert [row[0] for row in play.found] == [4]
    assert [task.row[0] for task in play.rescued] == [3]


def test_a_rescue_is_known_as_one_however_often_it_is_claimed_again_in_vain(play):
    rescue = play.loses(REASON_MANAGER_LOST)

    for _ in range(LISTED_AT_MOST + 1):
        assert play.turn(later=RETRY_SECONDS) == "claims"
        play.thread.answer([(3, rescue)])
        play.thread.answer(AWAY)
    play.turn(later=RETRY_SECONDS)
    play.thread.answer([(3, rescue)])
    play.claims_again(3)

    assert play.found == []
    assert [task.row[0] for task in play.rescued] == [3]


def test_what_was_claimed_again_in_vain_is_asked_for_again(play):
    lost = play.loses()
    play.is_told((3, lost))
    play.thread.answer(AWAY)

    assert play.turn() is None, "or a refusal that comes at once would be asked for without a pause"
    tokens = play.asks_for(later=RETRY_SECONDS)

    assert len(tokens) == 2
    play.thread.answer([(3, tokens[1])])
    token = play.claims_again(3)
    assert [row[TOKEN] for row in play.found] == [token]


def test_what_is_claimed_again_under_a_lease_that_is_lost_meanwhile_is_asked_for_again(play):
    play.is_told((3, play.loses()))
    play.tokens.distrust_all()

    token = play.claims_again(3)

    assert play.found == []
    assert token in play.asks_for()


def test_a_question_that_is_not_answered_is_an_outage_and_asked_again_after_a_second(
    play, recorded_events: RecordedEvents
):
    play.loses()
    play.turn()
    play.thread.answer(AWAY)

    assert play.turn() is None
    assert 0 < play.reconciliation.next_at() - time.monotonic() <= RETRY_SECONDS
    assert play.turn(later=RETRY_SECONDS) == "claims"
    assert play.reconciliation.next_at() == NEVER
    play.thread.answer([])
    assert not play.outage.is_on
    assert [len(recorded_events.of(kind)) for kind in (ClaimFailed, DatabaseRestored)] == [1, 1]


def test_an_answer_ends_no_outage_of_others(play):
    play.outage.fail(AWAY)
    play.loses()

    assert play.turn(later=RETRY_SECONDS) == "claims"
    play.thread.answer([])

    assert play.outage.is_on


def test_without_a_lease_it_asks_nothing(play):
    play.loses()
    play.id = None

    assert play.turn() is None
    assert play.reconciliation.next_at() == NEVER


def test_while_the_manager_drains_it_asks_but_does_not_hold_up_the_end(play):
    play.loses()
    play.reconciliation.stop()

    assert play.reconciliation.is_idle
    assert play.turn() == "claims"


def test_what_is_remembered_of_answered_calls_does_not_grow(play):
    def remembered() -> int:
        return sum(len(kept) for kept in vars(play.tokens).values() if isinstance(kept, Sized))

    play.reconciliation.compare_all()
    play.is_told()
    for _ in range(100):
        play.tokens.answered(play.tokens.draw())

    assert remembered() == 0


def test_after_a_lost_lease_the_table_is_asked_for_what_a_claim_under_way_has_brought(play):
    token = play.tokens.draw()
    play.id = uuid4()
    play.tokens.distrust_all()
    play.reconciliation.compare_all()
    assert play.asks_for() is None

    assert not play.tokens.answered(token)

    play.thread.answer([(1, 11), (2, 12), (3, token)])
    assert play.asks_for() == [token]
    play.thread.answer([(3, token)])
    play.claims_again(3)
    assert [row[0] for row in play.found] == [3]
    assert play.tokens.answered(play.tokens.draw())


def test_after_a_lost_connection_all_that_is_known_is_compared_before_the_next_claim(play):
    play.reconciliation.require_comparison()
    assert not play.reconciliation.is_idle

    assert play.turn() == "compare"

    assert play.thread.call.keywords["held"] == [ONE, TWO, FIVE]
    play.thread.answer(AWAY)
    assert play.reconciliation.must_compare
    assert play.turn(later=RETRY_SECONDS) == "compare"
    play.reconciliation.require_comparison()  # a second doubt before the answer
    play.thread.answer([(1, 11), (2, 12), (5, 15)])
    assert play.reconciliation.must_compare
    play.is_told((1, 11), (2, 12), (5, 15))
    assert not play.reconciliation.must_compare
    assert play.reconciliation.is_idle
    assert play.revoked == []


def test_a_comparison_waits_for_a_claim_under_way_whose_tasks_are_not_known_yet(play):
    play.held, play.buffered, play.settling = [], [], []
    play.thread.submit(print, lambda result: play.buffered.append(TWO))
    play.reconciliation.require_comparison()

    assert play.turn() == "print"
    play.thread.answer(None)

    assert play.turn() == "compare"


def test_after_a_lost_connection_a_manager_that_holds_nothing_claims_at_once(play):
    play.held, play.buffered, play.settling = [], [], []
    play.reconciliation.require_comparison()

    assert play.turn() is None
    assert play.reconciliation.is_idle


def test_what_another_manager_has_by_the_table_is_dropped_unless_it_is_being_settled(play):
    play.reconciliation.require_comparison()

    play.is_told((1, 11))

    assert play.revoked == [{2}]
    assert play.turn() is None


def test_what_came_or_went_during_a_comparison_is_not_dropped(play):
    play.reconciliation.require_comparison()
    play.turn()
    play.held, play.buffered = [], [task_row(2, token=13)]  # task 1 was settled, task 2 claimed again

    play.thread.answer([])

    assert play.revoked == []


def test_a_claim_that_was_restored_when_nobody_here_held_the_task_any_more_is_taken_in(play):
    play.reconciliation.require_comparison()
    play.turn()
    play.held = []

    play.thread.answer([(1, 11), (2, 12)])

    assert play.thread.call.keywords["pairs"] == [(1, 11)]
    play.claims_again(1)
    assert [row[ID] for row in play.found] == [1]


def test_an_answer_of_an_earlier_identity_counts_for_nothing(play):
    play.reconciliation.require_comparison()
    play.turn()
    play.id = uuid4()

    play.thread.answer([])

    assert play.revoked == []
    assert play.turn() == "compare"
    assert play.thread.call.keywords["manager"] == play.id
