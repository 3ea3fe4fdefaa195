"""When a manager asks whether a pass is due, and how it makes a pass."""

import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from django_partisan import registry
from django_partisan.config.queues import queue_config
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.outage import ClaimOutage, SharedOutage
from django_partisan.engine.manager.pruner import (
    BUSY_SECONDS,
    CANCELLED_OFTEN,
    PASS_SECONDS,
    REST_SECONDS,
    RETRY_SECONDS,
    ROWS_AT_MOST,
    ROWS_IF_SLOW,
    SLOW_SECONDS,
    Pruner,
)
from django_partisan.sql.pruning import Batch, ChoreState
from django_partisan.telemetry.events.queues import PruneFailed, PrunePassEnded, TasksPruned
from tests.support.engine import AWAY, CANCELLED, FakeDatabaseThread, error_with
from tests.support.events import RecordedEvents
from tests.support.registry import Idle

DUE = ChoreState(0.0, False, 0, 0)
FINISHED = ("default", "finished")
LOCKED, FORBIDDEN = error_with("55P03"), error_with("42501")


def batch(
    number: int = 0, last: int = 10, is_over: bool = False, kept: int = 0, seconds: float = 0.0
) -> Batch:
    return Batch({FINISHED: number} if number else {}, last, is_over, kept, seconds)


class Harness:
    """A manager; the test answers its calls and sets its clock."""

    def __init__(self, queue: str = "default") -> None:
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage(queue))
        self.id: UUID | None = uuid4()
        self.component = Pruner(queue_config(queue), self.thread, self.outage, lambda: self.id)
        self.arguments: dict[str, Any] = {}

    def pending_call(self, later: float = 0.0) -> str | None:
        """Turn ``later`` seconds after the component's own time; return the name of the pending call."""
        next_at = self.component.next_at()
        self.component.turn(max(time.monotonic(), next_at if next_at < NEVER else 0.0) + later)
        self.arguments = dict(self.thread.call.keywords) if self.thread.calls else {}
        return self.thread.pending_call

    def answers(self, function: str, result: Any) -> dict[str, Any]:
        """Answer the next call; return its arguments."""
        assert self.pending_call() == function
        self.thread.answer(result)
        return self.arguments

    @property
    def waits(self) -> float:
        return self.component.next_at() - time.monotonic()


@pytest.fixture(autouse=True)
def _no_processors(own_registry: None) -> None:
    """Remove processors of other tests, which could set retention times."""


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_it_asks_every_five_minutes_or_when_the_next_pass_is_due(harness):
    asked = harness.answers("take", ChoreState(1000.0, False, 0, 0))
    assert (asked["manager"], asked["interval"]) == (harness.id, PASS_SECONDS)
    assert harness.waits == pytest.approx(PASS_SECONDS, abs=1)
    harness.component.turn(time.monotonic())
    assert harness.thread.calls == []

    harness.answers("take", ChoreState(20.0, False, 0, 0))
    assert harness.waits == pytest.approx(20, abs=1)


@pytest.mark.parametrize("chore", [None, ChoreState(7.0, True, 0, 0)], ids=["locked", "another prunes"])
def test_while_another_manager_prunes_it_looks_every_minute_whether_that_lives(harness, chore):
    harness.answers("take", chore)

    assert harness.waits == pytest.approx(BUSY_SECONDS, abs=1)


@pytest.mark.parametrize(("keep", "interval"), [(0, 5), (100, 10), (10**6, 300)])
def test_the_shorter_rows_are_kept_the_more_often_it_asks(harness, keep, interval):
    registry.register(type("Short", (Idle,), {"KEEP_FAILED_SECONDS": keep}))

    assert harness.pending_call() == "take"

    assert harness.arguments["interval"] == interval


def test_where_all_rows_are_kept_for_ever_nothing_is_asked(harness, settings):
    settings.PARTISAN_CONFIG = {"default": {"KEEP_FINISHED_SECONDS": None}}

    assert harness.pending_call() is None
    assert harness.waits == pytest.approx(PASS_SECONDS, abs=1)


def test_without_an_identity_or_while_the_chores_are_busy_it_waits(harness):
    harness.id = None
    assert harness.component.next_at() == NEVER
    harness.id = uuid4()
    harness.pending_call()

    assert harness.component.next_at() == NEVER
    assert harness.component.is_idle


def test_a_pass_goes_on_where_the_last_batch_ended_and_is_told_at_its_end(
    harness, recorded_events: RecordedEvents
):
    harness.answers("take", ChoreState(-5.0, False, 100, 7))

    first = harness.answers("prune_as", batch(ROWS_AT_MOST, last=900, kept=3))
    second = harness.answers("prune_as", Batch({("mail", "error"): 2}, 950, True, 0, 0.0))

    assert (first["walk"].after, first["kept"], first["walk"].rows) == (100, 7, ROWS_AT_MOST)
    assert (second["walk"].after, second["kept"]) == (900, 10)
    assert recorded_events.of(TasksPruned) == [
        TasksPruned("default", "finished", ROWS_AT_MOST),
        TasksPruned("mail", "error", 2),
    ]
    [told] = recorded_events.of(PrunePassEnded)
    assert (told.queue, told.finished, told.failed) == ("default", ROWS_AT_MOST, 2)
    assert harness.pending_call() == "take"


@pytest.mark.parametrize(
    ("own", "named"),
    [("default", {"default", "mail", "listed"}), ("mail", {"mail", "listed"})],
)
def test_it_prunes_its_own_queue_and_those_that_the_settings_name(settings, own, named):
    settings.PARTISAN_CONFIG = {"mail": {}}
    settings.TASKS = {"default": {"BACKEND": "django_partisan.backend.PartisanBackend", "QUEUES": ["listed"]}}
    harness = Harness(own)

    harness.answers("take", DUE)

    assert harness.pending_call() == "prune_as"
    queues = harness.arguments["walk"].queues
    assert (len(queues), set(queues)) == (len(named), named)


def test_at_most_two_thousand_rows_are_deleted_in_a_second_and_a_slow_batch_is_followed_by_a_rest(harness):
    harness.answers("take", DUE)

    harness.answers("prune_as", batch())
    assert harness.waits == pytest.approx(REST_SECONDS, abs=REST_SECONDS)
    harness.answers("prune_as", batch(ROWS_AT_MOST))
    assert 0.1 < harness.waits <= ROWS_AT_MOST / 2000 + REST_SECONDS
    harness.answers("prune_as", batch(seconds=2.0))
    assert 5 < harness.waits <= 6


def test_slow_batches_become_smaller_but_not_tiny(harness):
    harness.answers("take", DUE)

    sizes = [harness.answers("prune_as", batch(seconds=2 * SLOW_SECONDS))["walk"].rows for _ in range(6)]

    assert sizes[:3] == [500, 250, 125]
    assert ROWS_IF_SLOW / 2 < sizes[-1] <= ROWS_IF_SLOW


def test_a_pass_that_another_took_over_ends_here(harness, recorded_events: RecordedEvents):
    harness.answers("take", DUE)

    harness.answers("prune_as", None)

    assert harness.waits == pytest.approx(BUSY_SECONDS, abs=1)
    assert len(recorded_events.of(PrunePassEnded)) == 1
    assert harness.pending_call() == "take"


def test_under_a_new_identity_it_asks_again(harness):
    harness.answers("take", DUE)
    harness.id = uuid4()

    assert harness.pending_call() == "take"
    assert harness.arguments["manager"] == harness.id


def test_a_manager_that_drains_leaves_the_rest_of_its_pass_to_others(
    harness, recorded_events: RecordedEvents
):
    first = harness.id
    harness.answers("take", DUE)
    assert harness.pending_call() == "prune_as"

    harness.component.stop()
    harness.thread.answer(batch(5))

    assert harness.thread.pending_call == "release"
    assert harness.thread.call.keywords == {"manager": first}
    assert recorded_events.of(PrunePassEnded) == []
    harness.thread.answer(None)
    [told] = recorded_events.of(PrunePassEnded)
    assert told.finished == 5
    assert harness.component.next_at() == NEVER


def test_a_pass_that_ends_while_the_manager_stops_is_told_once(harness, recorded_events: RecordedEvents):
    harness.answers("take", DUE)
    assert harness.pending_call() == "prune_as"

    harness.component.stop()
    harness.thread.answer(batch(5)._replace(is_over=True))
    harness.thread.answer(None)

    assert len(recorded_events.of(PrunePassEnded)) == 1


def test_one_that_drains_before_its_pass_or_in_an_outage_releases_nothing(harness):
    assert harness.pending_call() == "take"
    harness.component.stop()
    harness.thread.answer(DUE)
    assert harness.thread.calls == []

    other = Harness()
    other.answers("take", DUE)
    other.outage.fail(AWAY)
    other.component.stop()
    assert other.thread.calls == []


def test_temporary_errors_are_retried_and_not_emitted(harness, recorded_events: RecordedEvents):
    harness.answers("take", AWAY)
    assert harness.waits == pytest.approx(RETRY_SECONDS, abs=1)
    harness.answers("take", DUE)
    harness.answers("prune_as", LOCKED)
    harness.answers("prune_as", AWAY)

    assert harness.answers("prune_as", batch())["walk"].after == 0
    assert recorded_events.of(PruneFailed) == []
    assert not harness.outage.is_on


def test_after_batches_that_took_too_long_a_smaller_one_is_tried_ever_later(
    harness, recorded_events: RecordedEvents
):
    harness.answers("take", DUE)

    sizes, waits = [], []
    for _ in range(10):
        sizes.append(harness.answers("prune_as", CANCELLED)["walk"].rows)
        waits.append(harness.waits)

    assert sizes[:3] == [500, 250, 125]
    assert sizes[-1] == 1
    assert waits == pytest.approx([10, 20, 40, 80, 160, *[PASS_SECONDS] * 5], abs=1)
    [told] = recorded_events.of(PruneFailed)
    assert told.error.message.startswith(
        "5 batches in a row took longer than 1 s and deleted nothing; look for"
    )
    harness.answers("prune_as", batch(1))
    harness.answers("prune_as", CANCELLED)
    assert harness.waits == pytest.approx(2 * RETRY_SECONDS, abs=1)
    assert len(recorded_events.of(PruneFailed)) == 1


def test_where_every_batch_takes_too_long_for_days_it_still_tries(harness):
    harness.answers("take", DUE)

    for _ in range(1100):
        harness.answers("prune_as", CANCELLED)

    assert harness.waits == pytest.approx(PASS_SECONDS, abs=1)


def test_a_pass_that_two_managers_take_from_each_other_in_vain_is_tried_no_sooner(
    harness, recorded_events: RecordedEvents
):
    harness.answers("take", DUE)
    for _ in range(CANCELLED_OFTEN):
        harness.answers("prune_as", CANCELLED)
    harness.answers("prune_as", None)
    harness.answers("take", DUE)

    harness.answers("prune_as", CANCELLED)

    assert harness.waits == pytest.approx(PASS_SECONDS, abs=1)
    assert len(recorded_events.of(PruneFailed)) == 1


def test_a_question_that_was_cancelled_makes_no_batch_smaller(harness, recorded_events: RecordedEvents):
    harness.answers("take", CANCELLED)
    assert harness.waits == pytest.approx(RETRY_SECONDS, abs=1)
    [told] = recorded_events.of(PruneFailed)
    assert "statement_timeout" in told.error.message
    harness.answers("take", DUE)

    assert harness.answers("prune_as", batch())["walk"].rows == ROWS_AT_MOST


def test_a_missing_right_is_told_once_until_it_is_there(harness, recorded_events: RecordedEvents):
    harness.answers("take", DUE)
    for result in (FORBIDDEN, FORBIDDEN, batch(), FORBIDDEN):
        harness.answers("prune_as", result)

    assert [told.queue for told in recorded_events.of(PruneFailed)] == ["default", "default"]
    assert not harness.outage.is_on


def test_a_fault_of_ours_is_raised(harness):
    assert harness.pending_call() == "take"

    with pytest.raises(ZeroDivisionError):
        harness.thread.answer(ZeroDivisionError())
