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


class Harness(IntakeHarness):
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

    def is_reading(self, later: float = 0.0) -> bool:
        """Turn, ``later`` seconds from now; return whether a read is then pending."""
        self.pauses.turn(time.monotonic() + later)
        return bool(self.reader.calls)


@pytest.fixture
def harness(presence: PresenceFile, recorded_events: RecordedEvents) -> Iterator[Harness]:
    made = Harness(presence)
    yield made
    made.close()


def test_the_first_heartbeat_has_a_look_follow_and_later_ones_only_if_they_saw_something_else(
    harness: Harness,
):
    assert not harness.is_reading()
    harness.pauses.on_heartbeat(False)
    assert harness.is_reading()
    harness.reader.answer(None)

    harness.pauses.on_heartbeat(False)
    assert not harness.is_reading(later=3600)
    harness.pauses.on_heartbeat(True)
    assert harness.pause.is_on
    assert harness.is_reading()
    harness.reader.answer(PAUSED)
    harness.pauses.on_heartbeat(True)
    assert not harness.is_reading(later=3600)

    assert harness.pause.is_on
    assert harness.resumed == 0


def test_a_heartbeat_that_sees_no_pause_any_more_has_a_look_follow_which_ends_it(harness: Harness):
    harness.read(PAUSED)
    assert harness.pause.seconds >= 5.0

    harness.pauses.on_heartbeat(True)
    assert harness.pause.seconds >= 5.0
    harness.pauses.on_heartbeat(False)
    assert harness.is_reading()
    harness.reader.answer(None)

    assert not harness.pause.is_on
    assert harness.resumed == 1


def test_a_look_that_is_asked_for_while_one_is_under_way_follows_it(harness: Harness):
    harness.pauses.read_now()
    assert harness.is_reading()
    assert harness.pauses.next_at() == NEVER
    harness.pauses.read_now()
    harness.reader.answer(None)

    assert harness.pauses.next_at() == 0.0
    assert harness.is_reading()


def test_a_look_that_fails_is_repeated_a_moment_later(harness: Harness):
    harness.read(OperationalError("the server closed the connection"))

    assert not harness.is_reading()
    assert harness.is_reading(later=RETRY_SECONDS)


def test_a_fault_of_ours_is_raised(harness: Harness):
    with pytest.raises(ZeroDivisionError):
        harness.read(ZeroDivisionError())


def test_tasks_that_were_on_their_way_to_a_worker_are_recalled_until_it_has_none(harness: Harness):
    worker = harness.dispatch_to(0, task_row(1), task_row(2))
    harness.begins(worker, 1)
    harness.read(PAUSED)
    assert not harness.workers[0].was_rung()
    harness.pauses.turn(time.monotonic())
    assert worker.was_rung()
    assert not harness.workers[1].was_rung()
    worker.managed.take_back([])

    harness.pauses.turn(time.monotonic())
    assert not worker.was_rung()
    harness.pauses.turn(time.monotonic() + 1)
    assert worker.was_rung()
    harness.intake.on_returned(worker.managed.take_back([2]))
    harness.pauses.turn(time.monotonic() + 2)

    assert not worker.was_rung()
    assert harness.pauses.next_at() == NEVER
    assert [row[0] for row in harness.outcomes.settler.rows()] == [2]
    assert harness.buffered() == []


def test_a_pause_that_ends_by_itself_is_looked_at_then(harness: Harness):
    harness.read(PAUSED._replace(seconds_left=60.0, until="2026-11-29T18:00:00Z"))

    assert not harness.is_reading(later=59)
    assert harness.is_reading(later=61)
    harness.reader.answer(None)
    assert harness.resumed == 1


def test_a_manager_that_drains_looks_no_more(harness: Harness):
    harness.pauses.read_now()
    assert harness.is_reading()
    harness.pauses.stop()
    harness.reader.answer(PAUSED)
    harness.pauses.read_now()

    assert not harness.is_reading()
    assert harness.pauses.next_at() == NEVER
    assert not harness.pause.is_on


def test_a_pause_that_ended_before_it_was_looked_at_is_no_news(
    harness: Harness, recorded_events: RecordedEvents
):
    harness.pauses.on_heartbeat(True)
    assert harness.pause.is_on
    assert harness.pause.seconds < 60

    harness.read(None)

    assert not harness.pause.is_on
    assert harness.pause.seconds == 0.0
    assert harness.resumed == 1
    assert [kind for kind in map(type, recorded_events.events) if kind.__name__.startswith("Queue")] == []


def test_a_pause_that_is_seen_again_as_it_was_is_emitted_once(
    harness: Harness, recorded_events: RecordedEvents
):
    harness.read(PAUSED)
    harness.read(PAUSED)
    harness.read(PAUSED._replace(comment="until Monday"))

    assert [event.comment for event in recorded_events.of(QueuePaused)] == ["", "until Monday"]
