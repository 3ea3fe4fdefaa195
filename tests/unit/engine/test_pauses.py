"""When a manager checks whether its queue is paused; the effects are tested with a real database."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.pauses import RETRY_SECONDS, Pauses
from django_partisan.engine.presence import PresenceFile
from django_partisan.sql.pausing import StoredPause
from django_partisan.telemetry.events.operators import QueuePaused
from tests.support.engine import FakeDatabaseThread, IntakeHarness
from tests.support.events import RecordedEvents
from tests.support.rows import task_row

PAUSED = StoredPause(5.0, None, None, "", "")


class Play(IntakeHarness):
    """A manager with two workers; the test answers its reads of the pause."""

    def __init__(self, presence: PresenceFile) -> None:
        super().__init__(presence)
        self.reader = FakeDatabaseThread()
        self.resumed = 0
        self.pauses = Pauses(
            "default",
            self.reader,
            self.pause,
            self.intake,
            self.pool,
            self.outcomes.settler,
            presence,
            self._on_resumed,
        )
        self.started()

    def _on_resumed(self) -> None:
        self.resumed += 1

    def read(self, result: Any) -> None:
        """Make the manager read the pause now, and answer."""
        self.pauses.read_now()
        self.pauses.turn(time.monotonic())
        self.reader.answer(result)

    def asks(self, later: float = 0.0) -> bool:
        """Turn, ``later`` seconds from now; return whether a read is then pending."""
        self.pauses.turn(time.monotonic() + later)
        return bool(self.reader.calls)


@pytest.fixture
def play(presence: PresenceFile, recorded_events: RecordedEvents) -> Iterator[Play]:
    made = Play(presence)
    yield made
    made.close()


def test_the_first_heartbeat_has_a_look_follow_and_later_ones_only_if_they_saw_something_else(play: Play):
    assert not play.asks()
    play.pauses.on_heartbeat(False)
    assert play.asks()
    play.reader.answer(None)

    play.pauses.on_heartbeat(False)
    assert not play.asks(later=3600)
    play.pauses.on_heartbeat(True)
    assert play.pause.is_on
    assert play.asks()
    play.reader.answer(PAUSED)
    play.pauses.on_heartbeat(True)
    assert not play.asks(later=3600)

    assert play.pause.is_on
    assert play.resumed == 0


def test_a_heartbeat_that_sees_no_pause_any_more_has_a_look_follow_which_ends_it(play: Play):
    play.read(PAUSED)
    assert play.pause.seconds >= 5.0

    play.pauses.on_heartbeat(True)
    assert play.pause.seconds >= 5.0
    play.pauses.on_heartbeat(False)
    assert play.asks()
    play.reader.answer(None)

    assert not play.pause.is_on
    assert play.resumed == 1


def test_a_look_that_is_asked_for_while_one_is_under_way_follows_it(play: Play):
    play.pauses.read_now()
    assert play.asks()
    assert play.pauses.next_at() == NEVER
    play.pauses.read_now()
    play.reader.answer(None)

    assert play.pauses.next_at() == 0.0
    assert play.asks()


def test_a_look_that_fails_is_repeated_a_moment_later(play: Play):
    play.read(OperationalError("the server closed the connection"))

    assert not play.asks()
    assert play.asks(later=RETRY_SECONDS)


def test_a_fault_of_ours_is_raised(play: Play):
    with pytest.raises(ZeroDivisionError):
        play.read(ZeroDivisionError())


def test_tasks_that_were_on_their_way_to_a_worker_are_recalled_until_it_has_none(play: Play):
    worker = play.gives(0, task_row(1), task_row(2))
    play.begins(worker, 1)
    play.read(PAUSED)
    assert not play.workers[0].rung()
    play.pauses.turn(time.monotonic())
    assert worker.rung()
    assert not play.workers[1].rung()
    worker.seen.take_back([])

    play.pauses.turn(time.monotonic())
    assert not worker.rung()
    play.pauses.turn(time.monotonic() + 1)
    assert worker.rung()
    play.intake.on_returned(worker.seen.take_back([2]))
    play.pauses.turn(time.monotonic() + 2)

    assert not worker.rung()
    assert play.pauses.next_at() == NEVER
    assert [row[0] for row in play.outcomes.settler.rows()] == [2]
    assert play.buffered() == []


def test_a_pause_that_ends_by_itself_is_looked_at_then(play: Play):
    play.read(PAUSED._replace(seconds_left=60.0, until="2026-11-29T18:00:00Z"))

    assert not play.asks(later=59)
    assert play.asks(later=61)
    play.reader.answer(None)
    assert play.resumed == 1


def test_a_manager_that_drains_looks_no_more(play: Play):
    play.pauses.read_now()
    assert play.asks()
    play.pauses.stop()
    play.reader.answer(PAUSED)
    play.pauses.read_now()

    assert not play.asks()
    assert play.pauses.next_at() == NEVER
    assert not play.pause.is_on


def test_a_pause_that_ended_before_it_was_looked_at_is_no_news(play: Play, recorded_events: RecordedEvents):
    play.pauses.on_heartbeat(True)
    assert play.pause.is_on
    assert play.pause.seconds < 60

    play.read(None)

    assert not play.pause.is_on
    assert play.pause.seconds == 0.0
    assert play.resumed == 1
    assert [kind for kind in map(type, recorded_events.events) if kind.__name__.startswith("Queue")] == []


def test_a_pause_that_is_seen_again_as_it_was_is_emitted_once(play: Play, recorded_events: RecordedEvents):
    play.read(PAUSED)
    play.read(PAUSED)
    play.read(PAUSED._replace(comment="until Monday"))

    assert [event.comment for event in recorded_events.of(QueuePaused)] == ["", "until Monday"]
