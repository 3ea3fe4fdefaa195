"""When an answer of the database was lost, nothing is claimed until it is known which tasks are ours."""

import time
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.outage import ClaimOutage, SharedOutage
from django_partisan.engine.manager.reconciliation import RETRY_SECONDS, Reconciliation
from django_partisan.sql.claiming import TaskRow
from tests.support.engine import AWAY, FakeDatabaseThread, config_of
from tests.support.rows import task_row


class Play:
    """A reconciliation whose manager the test plays: workers hold task 1, task 2 is in the buffer."""

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.id: UUID | None = uuid4()
        self.is_claiming = False
        self.found: list[list[TaskRow]] = []
        intake = SimpleNamespace(known_ids=lambda held: [*held, 2], on_claimed=self.found.append)
        pool = SimpleNamespace(held=lambda: [1])
        self.reconciliation = Reconciliation(
            config_of(),
            self.thread,
            self.outage,
            cast(Any, intake),
            cast(Any, pool),
            identity=lambda: self.id,
            is_claiming=lambda: self.is_claiming,
        )

    def turn(self, later: float = 0.0) -> str | None:
        self.reconciliation.turn(time.monotonic() + later)
        return self.thread.asked


@pytest.fixture
def play() -> Play:
    return Play()


def test_in_doubt_nothing_is_claimed_until_it_is_known_which_other_tasks_are_ours(play):
    play.reconciliation.doubt()
    assert play.turn() == "claim_unknown"
    assert play.thread.call.keywords == {"queue": "default", "manager": play.id, "known": [1, 2]}
    assert play.turn() == "claim_unknown"
    assert play.reconciliation.claiming_id is None
    assert not play.reconciliation.is_idle
    play.thread.answer([task_row(3)])

    assert play.turn() is None
    assert play.found == [[task_row(3)]]
    assert play.reconciliation.claiming_id == play.id is not None
    assert play.reconciliation.is_idle


@pytest.mark.parametrize(
    "prevent",
    [
        lambda play: setattr(play, "is_claiming", True),
        lambda play: setattr(play, "id", None),
    ],
    ids=["a claim is under way", "the lease is not held"],
)
def test_in_doubt_it_asks_nothing_while_an_answer_could_not_be_used(prevent, play):
    play.reconciliation.doubt()

    prevent(play)

    assert play.turn() is None
    assert play.reconciliation.next_at() == NEVER


def test_while_the_manager_drains_it_asks_but_does_not_hold_up_the_end(play):
    play.reconciliation.doubt()
    play.reconciliation.stop()

    assert play.reconciliation.is_idle
    assert play.turn() == "claim_unknown"


def test_an_answer_ends_an_outage_that_only_heartbeats_noted(play):
    play.reconciliation.on_heartbeat_failed(AWAY)
    play.reconciliation.on_heartbeat_failed(AWAY)
    assert play.outage.is_on

    play.turn()
    play.thread.answer([])

    assert not play.outage.is_on


def test_a_question_that_is_not_answered_is_an_outage_and_asked_again_after_a_second(play):
    play.reconciliation.doubt()
    play.turn()
    play.thread.answer(AWAY)

    assert play.turn() is None
    assert 0 < play.reconciliation.next_at() - time.monotonic() <= RETRY_SECONDS
    assert play.outage.is_on
    assert play.turn(later=RETRY_SECONDS) == "claim_unknown"
    assert play.reconciliation.next_at() == NEVER


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_first_heartbeat_that_is_not_answered_is_no_outage_and_the_second_is_unless_it_was_stopped(
    is_stopped, play
):
    if is_stopped:
        play.reconciliation.stop()
    play.reconciliation.on_heartbeat_failed(AWAY)
    assert not play.outage.is_on
    assert play.reconciliation.claiming_id is None

    play.reconciliation.on_heartbeat_failed(AWAY)

    assert play.outage.is_on == (not is_stopped)
