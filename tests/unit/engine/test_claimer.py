"""When a manager claims, how many and from where, when it looks ahead, and when it sleeps."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from django_partisan.engine.manager import claimer as claiming
from django_partisan.engine.manager.claimer import Claimer
from django_partisan.sql import claiming as sql_claiming
from django_partisan.sql.claiming import Ahead, TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    ClaimErrored,
    ClaimFailed,
    DatabaseRestored,
    TasksClaimed,
)
from tests.support.engine import FakeDatabaseThread as LineByHand
from tests.support.engine import config_of
from tests.support.rows import task_row as task

AWAY = OperationalError("the server closed the connection")
NOTHING = Ahead(0, False, None)
LONG = 3600.0


class Side:
    """A claimer, and the three that it speaks with."""

    def __init__(self, **settings: Any) -> None:
        self.line = LineByHand()
        self.identity: UUID = uuid4()
        self.claimed: list[list[TaskRow]] = []
        self.doubts = 0
        config = config_of(**{"sleep_delay_seconds": LONG, **settings})
        self.claimer = Claimer(config, self.line, lambda: self.identity, self.claimed.append, self._doubt)

    def _doubt(self) -> None:
        self.doubts += 1

    def turn(self, room: int = 2, later: float = 0.0) -> str | None:
        """Turn once, ``later`` seconds from now; return what is asked then."""
        self.claimer.turn(time.monotonic() + later, room)
        return self.line.asked

    def seconds_to_next(self) -> float:
        return self.claimer.next_at() - time.monotonic()

    def looked(self, ahead: Ahead = NOTHING) -> "Side":
        """Answer the look ahead that is to come next."""
        assert self.turn() == "look_ahead"
        self.line.answer(ahead)
        return self

    def claim(self, *rows: TaskRow, room: int = 2, later: float = 0.0) -> dict[str, Any]:
        """Answer the claim that is to come next; return what it asked for."""
        assert self.turn(room, later) == "claim"
        asked: dict[str, Any] = self.line.call.keywords
        self.line.answer(list(rows))
        return asked

    def asleep(self) -> "Side":
        """Bring it to where it said that it sleeps, and looked twice more."""
        self.looked().claim()
        self.looked()
        assert self.turn() == "set_sleeping"
        assert self.line.call.keywords == {"manager": self.identity, "sleeping": True}
        self.line.answer(None)
        self.looked()
        assert self.turn(later=claiming.DOZE_SECONDS) == "look_ahead"
        self.line.answer(NOTHING)
        return self


@pytest.fixture
def side() -> Side:
    return Side()


def test_it_looks_ahead_and_then_claims_as_many_as_there_is_room_for(side):
    asked = side.looked().claim(task(7), room=5)

    assert asked == {"queue": "default", "manager": side.identity, "limit": 5, "behind": None}
    assert side.claimed == [[task(7)]]


def test_without_room_nothing_is_claimed(side):
    side.looked()

    assert side.turn(room=0) is None


def test_while_a_call_is_under_way_nothing_else_is_asked(side):
    side.looked()
    side.turn()

    assert side.claimer.busy
    assert side.claimer.next_at() == float("inf")
    side.turn()
    assert len(side.line.calls) == 1


def test_after_a_full_claim_the_next_begins_behind_its_last_row(side):
    side.looked().claim(task(7, priority=3), task(9, priority=4))

    assert side.claim(task(11), task(12))["behind"] == (4, 9)


def test_a_short_claim_behind_the_last_row_is_followed_by_one_from_the_start(side):
    side.looked().claim(task(7), task(9))
    side.claim(task(11))

    assert side.claim()["behind"] is None


def test_a_short_claim_from_the_start_is_followed_by_a_look_ahead(side):
    side.looked().claim(task(7))

    assert side.turn() == "look_ahead"
    assert side.line.call.keywords == {"queue": "default", "limit": claiming.PROMOTE_AT_MOST}


def test_in_a_backlog_it_claims_from_the_start_at_least_once_a_second(side):
    side.looked().claim(task(7), task(9))
    soon = side.claim(task(11), task(12), later=claiming.FROM_START_SECONDS / 2)
    late = side.claim(task(1), task(2), later=claiming.FROM_START_SECONDS + 0.5)

    assert (soon["behind"], late["behind"]) == ((10, 9), None)


def test_a_notification_has_it_claim_from_the_start(side):
    side.looked().claim(task(7), task(9))
    side.claimer.notified()

    assert side.claim()["behind"] is None


def test_what_is_due_but_locked_by_others_is_looked_for_again_after_a_moment_not_at_once(side):
    side.looked().claim()
    side.looked(Ahead(0, True, None))

    assert side.turn() == "set_sleeping"
    side.line.answer(None)
    side.looked(Ahead(0, True, None))
    assert side.turn() == "claim"


def test_a_queue_whose_due_rows_others_hold_locked_is_not_asked_in_a_spin():
    side = Side(listen=False)
    side.looked().claim()
    side.looked(Ahead(0, True, None))

    assert side.turn() is None
    assert 0 < side.seconds_to_next() <= claiming.DOZE_SECONDS
    assert not side.claimer.is_idle
    assert side.turn(later=claiming.DOZE_SECONDS) == "look_ahead"


def test_rows_that_became_ready_are_claimed_though_the_claim_before_came_empty(side):
    side.looked().claim()
    side.looked(Ahead(1, True, None))

    assert side.turn() == "claim"


def test_when_more_became_due_than_one_look_makes_ready_it_looks_again_soon(side):
    side.looked(Ahead(claiming.PROMOTE_AT_MOST, True, None))

    assert 0 < side.seconds_to_next() <= claiming.DOZE_SECONDS


def test_it_looks_again_when_the_next_scheduled_task_is_due(side):
    side.looked(Ahead(0, False, 30.0))

    assert side.claimer.next_due_in == 30.0
    assert 29 < side.seconds_to_next() <= 30


def test_a_task_that_is_expected_sooner_brings_the_look_forward(side):
    side.looked(Ahead(0, False, 30.0))
    side.claimer.expect(10)
    side.claimer.expect(20)

    assert side.claimer.next_due_in == 10
    assert 9 < side.seconds_to_next() <= 10


def test_the_first_expected_task_is_the_next_due(side):
    side.looked()
    side.claimer.expect(10)

    assert side.claimer.next_due_in == 10


def test_it_looks_twice_more_after_it_said_that_it_sleeps_and_then_rests(side):
    side.asleep()

    assert side.turn() is None
    assert side.seconds_to_next() > LONG - 60
    assert side.claimer.is_idle


def test_asleep_it_still_claims_when_notified(side):
    side.asleep().claimer.notified()

    assert side.turn() == "claim"


def test_asleep_it_says_that_it_is_awake_only_after_several_full_claims(side):
    side.asleep().claimer.notified()
    for number in range(claiming.AWAKE_AFTER_FULL_CLAIMS):
        side.claim(task(2 * number), task(2 * number + 1))

    assert side.turn() == "set_sleeping"
    assert side.line.call.keywords == {"manager": side.identity, "sleeping": False}
    side.line.answer(None)
    assert side.turn() == "claim"


def test_a_manager_that_does_not_listen_never_says_that_it_sleeps():
    side = Side(listen=False)
    side.looked().claim()
    side.looked()

    assert side.turn() is None


def test_a_new_identity_says_again_that_it_sleeps(side):
    side.asleep().claimer.renew()
    side.identity = uuid4()
    assert side.claim()["manager"] == side.identity
    side.looked()

    assert side.turn() == "set_sleeping"
    assert side.line.call.keywords["manager"] == side.identity


def test_that_it_sleeps_is_said_again_when_it_could_not_be_said(side):
    side.looked().claim()
    side.looked()
    assert side.turn() == "set_sleeping"
    side.line.answer(AWAY)
    assert side.turn() is None
    side.claim(later=1)
    side.looked()

    assert side.turn() == "set_sleeping"
    assert side.line.call.keywords["sleeping"] is True


def _refuse_a_claim(side: Side) -> None:
    side.turn(later=10)
    side.line.answer(AWAY)


def test_a_refused_claim_is_told_and_put_in_doubt_and_an_outage_is_told_once(side, heard):
    side.looked()
    _refuse_a_claim(side)
    _refuse_a_claim(side)

    assert side.doubts == 2
    assert len(heard.of(ClaimErrored)) == 2
    [failed] = heard.of(ClaimFailed)
    assert failed.error.type == "django.db.utils.OperationalError"
    assert not side.claimer.reachable


def test_claims_that_wait_for_another_answer_are_told_as_failing_and_end_with_the_next_claim(side, heard):
    side.looked().claim()
    side.looked()
    side.claimer.withheld(AWAY)
    side.claimer.withheld(AWAY)

    [failed] = heard.of(ClaimFailed)
    assert failed.error.type == "django.db.utils.OperationalError"
    assert heard.of(ClaimErrored) == []
    assert not side.claimer.reachable
    side.claim()  # at once, though it slept: whoever waited for the answer has paused long enough
    assert [event.failures for event in heard.of(DatabaseRestored)] == [2]
    assert side.claimer.reachable


def test_after_it_was_stopped_no_claim_is_withheld(side, heard):
    side.claimer.stop()
    side.claimer.withheld(AWAY)

    assert heard.of(ClaimFailed) == []
    assert side.claimer.reachable


def test_after_a_refused_claim_it_pauses_longer_each_time(side):
    side.looked()
    pauses = []
    for _ in range(6):
        _refuse_a_claim(side)
        assert side.turn() is None
        pauses.append(side.claimer._outage.over_at - time.monotonic())

    assert pauses == pytest.approx([0.25, 0.5, 1, 2, 3, 3], abs=0.2)


@pytest.mark.parametrize("look_first", [True, False], ids=["a look ahead", "a claim"])
def test_that_the_database_answers_again_is_told_with_the_number_of_failures(look_first, heard):
    side = Side()
    if look_first:
        side.turn()
        side.line.answer(AWAY)
        assert side.turn(later=10) == "claim"
        side.line.answer(AWAY)
        side.claimer.expect(0)
        assert side.turn(later=10) == "look_ahead"
        side.line.answer(NOTHING)
    else:
        side.looked()
        _refuse_a_claim(side)
        _refuse_a_claim(side)
        side.claim(later=10)

    [restored] = heard.of(DatabaseRestored)
    assert (restored.queue, restored.failures) == ("default", 2)
    assert 0 <= restored.seconds < 60
    assert side.claimer.reachable


def test_after_it_was_stopped_it_asks_nothing_but_takes_what_a_claim_under_way_brings(side):
    side.looked().turn()
    side.claimer.stop()
    side.line.answer([task(1)])

    assert side.claimer.is_stopped
    assert side.claimed == [[task(1)]]
    assert side.turn() is None
    assert side.claimer.next_at() == float("inf")


class Ageing:
    """A connection that notes that it was looked after."""

    def __init__(self) -> None:
        self.looked_after = 0

    def close_if_unusable_or_obsolete(self) -> None:
        self.looked_after += 1


def test_every_so_many_claims_the_connection_is_looked_after_first(monkeypatch):
    monkeypatch.setattr(sql_claiming, "claim", lambda connection, **_: [connection])
    side, connection = Side(checks_before_cleanup=2), Ageing()
    side.looked()
    looked_after = []
    for _ in range(4):
        side.turn()
        assert side.line.call(connection) == [connection]
        looked_after.append(connection.looked_after)
        side.line.answer([task(1), task(2)])

    assert looked_after == [0, 1, 1, 2]


def test_a_claim_is_told_with_its_contexts_and_at_most_a_hundred_ids(side, heard):
    rows = [task(number, context='{"a":"b"}' if number == 3 else None) for number in range(150)]
    before = time.time()
    side.looked().claim(*rows, room=200)

    [claimed] = heard.of(TasksClaimed)
    assert (claimed.queue, claimed.number, claimed.contexts) == ("default", 150, ('{"a":"b"}',))
    assert claimed.task_ids == tuple(range(100))
    assert before <= side.claimer.last_claim_at <= time.time()


def test_a_claim_is_not_described_where_nobody_wants_it(side, monkeypatch):
    monkeypatch.setattr(bus, "wanted", lambda kind: False)
    monkeypatch.setattr(bus, "emit", lambda *_: pytest.fail("told"))
    side.looked().claim(task(1))

    assert side.claimed == [[task(1)]]


def _hungry(side: Side) -> None:
    side.looked()


def _asking(side: Side) -> None:
    side.asleep().claimer.expect(0)
    side.turn()


def _expecting(side: Side) -> None:
    side.asleep().claimer.expect(0)


@pytest.mark.parametrize("busy", [_hungry, _asking, _expecting])
def test_it_is_not_idle_while_it_may_still_find_something(busy: Callable[[Side], None], side):
    busy(side)

    assert not side.claimer.is_idle


def test_it_says_since_when_its_last_look_knows(side):
    before = time.monotonic()
    side.looked()

    assert before <= side.claimer.looked_from <= time.monotonic()
