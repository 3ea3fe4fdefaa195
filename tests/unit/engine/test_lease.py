"""A manager's lease as its loop sees it: when to beat, and what each answer means."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from django_partisan.engine.manager import lease as leases
from django_partisan.engine.manager.lease import Beaten, Lease
from django_partisan.sql.claiming import TaskRow
from django_partisan.sql.leasing import Colleague, Orphan
from django_partisan.telemetry.events import LeaseLost
from tests.support.engine import FakeDatabaseThread as LineByHand
from tests.support.engine import config_of
from tests.support.rows import task_row as task

AWAY = OperationalError("the server closed the connection")
ALIVE = Beaten(True, [], [])
BURIED = Beaten(False, [], [])


class Side:
    """A lease, its line, and all that it told its manager."""

    def __init__(self) -> None:
        self.line = LineByHand()
        self.rescued: list[Orphan] = []
        self.kept: list[set[int]] = []
        self.failures: list[Exception] = []
        self.found: list[list[TaskRow]] = []
        self.lease = Lease(
            config_of(lease_seconds=30),
            self.line,
            uuid4(),
            self.rescued.extend,
            self._keep,
            self.failures.append,
        )

    def _keep(self, ids: set[int]) -> int:
        self.kept.append(ids)
        return 3

    def turn(self, later: float = 0.0) -> str | None:
        self.lease.turn(time.monotonic() + later)
        return self.line.asked

    def beaten(self, result: Any = ALIVE, later: float = 0.0) -> "Side":
        assert self.turn(later) == "_beat"
        self.line.answer(result)
        return self

    def look_for_unheard(self, known: Sequence[int] = ()) -> bool:
        before = len(self.line.calls)
        self.lease.find_unheard(list(known), self.found.append)
        return len(self.line.calls) > before

    def seconds_to_next(self) -> float:
        return self.lease.next_at() - time.monotonic()


@pytest.fixture
def side() -> Side:
    return Side()


def colleague(host: str, expired: bool = False) -> Colleague:
    return Colleague(uuid4(), host, uuid4(), expired)


def test_it_beats_at_once_and_is_ready_when_that_is_answered(side):
    assert not side.lease.is_ready
    side.beaten()

    assert side.lease.is_ready
    assert side.rescued == []


def test_it_beats_again_after_a_third_of_the_lease_and_not_before(side):
    side.beaten()

    assert side.turn() is None
    assert 9 < side.seconds_to_next() <= 10
    assert side.turn(later=10) == "_beat"
    assert side.lease.next_at() == float("inf")
    assert side.turn(later=20) == "_beat"
    assert len(side.line.calls) == 1


def test_asked_to_beat_soon_it_beats_in_the_next_turn(side):
    side.beaten().lease.beat_soon()

    assert side.turn() == "_beat"


def test_what_a_beat_took_over_is_handed_on(side):
    orphan = Orphan(None, task(1))
    side.beaten(Beaten(True, [], [orphan]))

    assert side.rescued == [orphan]


def test_a_colleague_of_this_host_that_has_just_gone_is_noticed_without_waiting_for_the_next_beat(
    side, monkeypatch
):
    here, elsewhere = colleague(side.lease._host), colleague("elsewhere")
    gone: set[Any] = {elsewhere.lock_name}
    monkeypatch.setattr(leases, "is_gone", gone.__contains__)
    side.beaten(Beaten(True, [here, elsewhere], []))
    assert side.turn(later=leases.WATCH_SECONDS) is None
    assert side.seconds_to_next() <= leases.WATCH_SECONDS * 2
    gone.add(here.lock_name)

    assert side.turn(later=leases.WATCH_SECONDS * 2) == "_beat"


def test_a_beat_that_is_not_answered_is_told_and_tried_again_after_a_second(side):
    side.beaten(AWAY)

    assert side.failures == [AWAY]
    assert not side.lease.is_ready
    assert side.turn() is None
    assert 0 < side.seconds_to_next() <= leases.RETRY_SECONDS
    assert side.turn(later=leases.RETRY_SECONDS) == "_beat"


def test_a_fault_of_ours_in_a_beat_is_not_kept_quiet(side):
    with pytest.raises(ZeroDivisionError):
        side.beaten(ZeroDivisionError())


def test_a_lost_lease_is_replaced_by_a_new_identity_and_nothing_is_claimed_until_it_stands(side, heard):
    before = side.lease.id
    side.beaten().beaten(BURIED, later=10)
    assert side.lease.id != before
    assert not side.lease.is_ready
    assert side.turn() == "renew"
    side.line.answer({7, 8})

    assert side.lease.is_ready
    assert side.kept == [{7, 8}]
    [lost] = heard.of(LeaseLost)
    assert (lost.queue, lost.held) == ("default", 3)
    assert 0 <= lost.seconds_since_heartbeat < 60
    assert side.turn() == "_beat"


def test_a_renewal_that_is_not_answered_is_tried_again_after_a_second(side, heard):
    side.beaten().beaten(BURIED, later=10)
    side.turn()
    side.line.answer(AWAY)
    assert side.failures == [AWAY]
    assert not side.lease.is_ready
    assert side.turn() is None
    assert side.turn(later=leases.RETRY_SECONDS) == "renew"
    side.line.answer(set())

    assert side.lease.is_ready
    assert side.kept == [set()]
    assert len(heard.of(LeaseLost)) == 1


def test_tasks_that_are_ours_and_unknown_here_are_looked_for_and_handed_on(side):
    side.beaten()
    assert side.look_for_unheard([1, 2])
    side.line.answer([task(3)])

    assert side.found == [[task(3)]]


def test_after_a_look_that_was_not_answered_it_waits_a_second_rather_than_spin(side, monkeypatch):
    side.beaten()
    side.look_for_unheard()
    side.line.answer(AWAY)

    assert side.found == []
    assert side.failures == [AWAY]
    assert not side.look_for_unheard()
    assert 0 < side.seconds_to_next() <= leases.RETRY_SECONDS
    later = time.monotonic() + leases.RETRY_SECONDS
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: later))
    assert side.look_for_unheard()


def test_nothing_is_looked_for_before_the_first_beat_or_while_another_call_is_under_way(side):
    assert not side.look_for_unheard()
    side.beaten().turn(later=10)

    assert not side.look_for_unheard()


def test_stopped_it_gives_up_its_row_and_asks_nothing_more(side):
    side.beaten().lease.stop()
    assert len(side.line.calls) == 1
    side.line.answer(None)

    assert side.turn(later=100) is None
    assert side.lease.next_at() == float("inf")
    assert not side.look_for_unheard()
