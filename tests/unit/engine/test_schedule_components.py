"""How the components of schedules handle answers that no database gives."""

import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import ProgrammingError

from django_partisan.engine.manager import schedule_failures
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.deferred_schedules import FORGET_SECONDS, Deferred
from django_partisan.engine.manager.listed_schedules import ListedSchedules
from django_partisan.engine.manager.listing_comparison import Comparison
from django_partisan.engine.manager.open_ticks import OpenTicks
from django_partisan.engine.manager.outage import ClaimOutage, Outage, SharedOutage
from django_partisan.engine.manager.schedule_failures import ScheduleFailures
from django_partisan.engine.manager.scheduler import RETRY_SECONDS, Scheduler
from django_partisan.engine.manager.tick_errors import describe
from django_partisan.engine.manager.tick_results import Batch, FailedSchedule
from django_partisan.sql.blocking import locked_by
from django_partisan.sql.leasing import SchedulesState
from django_partisan.telemetry.events.schedules import ScheduleFailed, ScheduleOperationFailed
from django_partisan.telemetry.events.values import ErrorInfo
from tests.support.engine import AWAY, FakeDatabaseThread, error_with
from tests.support.events import RecordedEvents
from tests.support.schedules import NOON

FAILED = FailedSchedule("nightly", "Letter", NOON, ErrorInfo("ValueError", "odd", ""), is_new=True)


class Harness:
    """A manager; the test answers its calls."""

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.id: UUID | None = uuid4()
        outage: Outage = ClaimOutage(SharedOutage("default"))
        self.enqueued: list[set[str]] = []
        self.scheduler = Scheduler("default", self.thread, outage, lambda: self.id, self.enqueued.append)
        self.listed = ListedSchedules(
            "default", self.thread, outage, {}, lambda: self.id, self.scheduler.read_now
        )
        self.open = OpenTicks("default", self.thread, outage, lambda: self.id)


@pytest.fixture
def harness() -> Harness:
    return Harness()


def wake(harness: Harness, name: str, now: float = 1e9) -> Any:
    component = getattr(harness, name)
    harness.scheduler.read_now()
    harness.listed.on_heartbeat(SchedulesState(None, True, True, "somebody"))
    harness.open.on_heartbeat(True)
    component.turn(now)
    return component


ALL = ["scheduler", "listed", "open"]
OPERATIONS = {"scheduler": "enqueue", "listed": "compare", "open": "look_up"}

REFUSED = error_with("42501", ProgrammingError)
"""A permanent error: a missing privilege on a table."""


class Clock:
    """The time passed to a component, and the time at which it wants its next turn."""

    def __init__(self, harness: Harness, name: str) -> None:
        self._play = harness
        self.component = wake(harness, name, time.monotonic())

    def fail_again(self, error: Exception) -> float:
        """Answer with an error; return the seconds until the component asks again."""
        self._play.thread.answer(error)
        failed_at = time.monotonic()
        self._play.listed.on_heartbeat(SchedulesState(None, True, True, "somebody"))
        self._play.scheduler.on_heartbeat(0.0)
        self._play.open.on_heartbeat(True)
        ask_at: float = self.component.next_at()
        self.component.turn(ask_at)
        assert self._play.thread.pending_call is not None
        return ask_at - failed_at


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("error", [ValueError("ours"), REFUSED])
def test_an_error_is_reported_once_and_does_not_end_the_manager(
    harness: Harness, name: str, error: Exception, recorded_events: RecordedEvents
):
    clock = Clock(harness, name)

    pauses = [clock.fail_again(error) for _ in range(8)]
    clock.fail_again(KeyError("other"))

    first, other = recorded_events.of(ScheduleOperationFailed)
    assert (first.queue, first.operation, first.schedule) == ("default", OPERATIONS[name], None)
    assert first.error.message.startswith(str(error))
    assert other.error.type == "KeyError"
    if name != "open":  # this component looks once a minute
        assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=0.5)


def kinds_of(events: RecordedEvents) -> list[str]:
    """Return the class names of the reported errors."""
    return [one.error.type for one in events.of(ScheduleOperationFailed)]


@pytest.mark.parametrize("name", ALL)
def test_an_outage_is_left_to_those_who_report_it(
    harness: Harness, name: str, recorded_events: RecordedEvents
):
    clock = Clock(harness, name)

    pauses = [clock.fail_again(AWAY) for _ in range(8)]

    assert recorded_events.of(ScheduleOperationFailed) == []
    if name != "open":
        assert pauses == pytest.approx([1.0] * 8, abs=0.5)


@pytest.mark.parametrize("name", ALL)
def test_a_lock_is_reported_once_it_has_outlasted_five_tries(
    harness: Harness, name: str, recorded_events: RecordedEvents
):
    clock, locked = Clock(harness, name), error_with("55P03")

    for _ in range(4):
        clock.fail_again(locked)
    before = recorded_events.of(ScheduleOperationFailed)
    pauses = [clock.fail_again(locked) for _ in range(3)]

    [failed] = recorded_events.of(ScheduleOperationFailed)
    assert before == []
    assert (failed.operation, failed.schedule) == (OPERATIONS[name], None)
    assert failed.error.message.endswith("(55P03)")
    if name != "open":
        assert pauses == pytest.approx([1.0] * 3, abs=0.5)


@pytest.mark.parametrize("between", [AWAY, None, {"nightly": describe(ValueError("ours"))}])
def test_locks_that_other_answers_part_are_left_to_pass(between: Any, recorded_events: RecordedEvents):
    failures = ScheduleFailures("default", "compare")

    for _ in range(3):
        for _ in range(4):
            failures.fail(error_with("55P03"))
        if between is None:
            failures.end()
        elif isinstance(between, Exception):
            failures.fail(between)
        else:
            failures.leave_out(between)

    assert [one for one in recorded_events.of(ScheduleOperationFailed) if one.schedule is None] == []


@pytest.mark.parametrize("code", ["55P03", "57014"])
def test_an_error_that_names_who_locks_the_table_is_described_with_the_session(code: str):
    found = describe(locked_by(error_with(code), "session 7 (psql)"))

    assert found.text.startswith(f"the table of tasks is locked by session 7 (psql) (PostgreSQL: {code}")
    assert found.info.message == found.text
    assert found.text.endswith(f"({code})")


def test_an_error_that_has_not_occurred_for_a_while_is_reported_again_whatever_else_failed(
    recorded_events: RecordedEvents,
):
    now = 0.0
    failures = ScheduleFailures("default", "enqueue", clock=lambda: now)

    failures.fail(ValueError("ours"))
    while now <= schedule_failures.FORGET_SECONDS:
        now += 60
        failures.fail(KeyError("each minute"))
    failures.fail(ValueError("ours"))

    assert kinds_of(recorded_events) == ["ValueError", "KeyError", "ValueError"]


def test_an_error_that_occurs_now_and_then_is_reported_once(recorded_events: RecordedEvents):
    now = 0.0
    failures = ScheduleFailures("default", "enqueue", clock=lambda: now)

    for _ in range(3):
        failures.fail(ValueError("ours"))
        failures.end()
        now += schedule_failures.FORGET_SECONDS

    assert kinds_of(recorded_events) == ["ValueError"]


def test_errors_of_schedules_are_forgotten_each_for_itself(recorded_events: RecordedEvents):
    now = 0.0
    failures = ScheduleFailures("default", "compare", clock=lambda: now)
    refused = {name: describe(ValueError("ours")) for name in ("a", "b")}

    failures.leave_out(refused)
    while now <= schedule_failures.FORGET_SECONDS:
        now += 60
        failures.leave_out({"b": refused["b"]})
    failures.leave_out(refused)

    assert [one.schedule for one in recorded_events.of(ScheduleOperationFailed)] == ["a", "b", "a"]


def test_schedules_that_are_refused_lengthen_no_pause_of_all(recorded_events: RecordedEvents):
    failures = ScheduleFailures("default", "enqueue", clock=lambda: 0.0)

    again_at = [failures.leave_out({"nightly": describe(ValueError("ours"))}) for _ in range(8)]
    failures.fail(KeyError("ours"))

    assert again_at == [1, 2, 4, 8, 16, 32, 60, 60]
    assert failures.retry_at == schedule_failures.RETRY_SECONDS


def test_a_definition_that_is_refused_is_reported_once_and_tried_again_later(
    harness: Harness, recorded_events: RecordedEvents
):
    refused = {"nightly": describe(ValueError("ours"))}
    for _ in range(2):
        wake(harness, "listed")
        harness.thread.answer(Comparison([], refused=refused))

    [failed] = recorded_events.of(ScheduleOperationFailed)
    assert (failed.schedule, failed.operation) == ("nightly", "compare")
    assert 0 < harness.listed.next_at() < NEVER


@pytest.mark.parametrize("name", ["scheduler", "listed", "open"])
def test_without_a_lease_nothing_is_asked(harness: Harness, name):
    harness.id = None

    component = wake(harness, name)

    assert (harness.thread.pending_call, component.next_at()) == (None, NEVER)


def test_a_manager_that_drains_goes_on_with_ticks_alone(harness: Harness):
    for name in ("scheduler", "listed", "open"):
        getattr(harness, name).stop()

    assert [wake(harness, name).next_at() for name in ("listed", "open")] == [NEVER, NEVER]
    wake(harness, "scheduler")

    assert harness.thread.pending_call == "make_batch"


def test_halves_are_tried_at_once_and_one_after_the_other(harness: Harness):
    wake(harness, "scheduler")
    harness.thread.answer(Batch(halves=[["a", "b"], ["c"]]))

    tried = []
    while harness.scheduler.next_at() == 0.0:
        harness.scheduler.turn(1e9)
        tried.append(harness.thread.call.keywords["names"])
        harness.thread.answer(Batch(next_in=None))

    assert tried == [["a", "b"], ["c"]]


def deferred(harness: Harness, now: float) -> Deferred:
    """Make the scheduler look at a time; return what its batch should leave out."""
    harness.scheduler.turn(now)
    found: Deferred = harness.thread.call.keywords["deferred"]
    return found


def test_schedules_put_aside_are_left_out_for_a_while(harness: Harness):
    wake(harness, "scheduler")
    harness.thread.answer(Batch(deferred={"nightly"}, next_in=5.0))
    now = time.monotonic()

    assert now + 4 < harness.scheduler.next_at() <= now + 5  # not the tick of the one set aside
    assert deferred(harness, now + 5) == Deferred(["nightly"], set(), {})
    harness.thread.answer(Batch(next_in=None))
    assert now + FORGET_SECONDS - 1 < harness.scheduler.next_at() <= now + FORGET_SECONDS
    assert deferred(harness, now + FORGET_SECONDS) == Deferred([], {"nightly"}, {})


def test_after_a_change_all_schedules_are_tried_at_once(harness: Harness):
    wake(harness, "scheduler")
    harness.thread.answer(Batch(deferred={"nightly"}, next_in=None))
    now = time.monotonic()

    harness.scheduler.read_now()

    assert harness.scheduler.next_at() == 0.0
    assert deferred(harness, now).hidden == []
    harness.scheduler.read_now()  # the pending batch may not have seen this change
    harness.thread.answer(Batch(deferred={"nightly"}, next_in=None))
    assert deferred(harness, now).hidden == []
    harness.thread.answer(Batch(deferred={"nightly"}, next_in=0.0))
    assert deferred(harness, now + 2).hidden == ["nightly"]


@pytest.mark.parametrize(("is_partial", "pause"), [(True, 1.0), (False, None)])
def test_rows_that_others_lock_are_compared_again_after_a_second(
    harness: Harness, is_partial: bool, pause: float | None
):
    wake(harness, "listed")
    harness.thread.answer(Comparison([], is_partial))

    expected = NEVER if pause is None else time.monotonic() + pause
    assert harness.listed.next_at() == pytest.approx(expected, abs=0.5)


def test_due_rows_that_others_lock_are_looked_at_after_a_pause(harness: Harness):
    wake(harness, "scheduler")
    harness.thread.answer(Batch(next_in=-5.0))
    locked_at = harness.scheduler.next_at()
    harness.scheduler.turn(locked_at)

    harness.thread.answer(Batch(next_in=-5.0, failed=[FAILED]))

    now = time.monotonic()
    assert locked_at == pytest.approx(now + RETRY_SECONDS, abs=0.5)
    assert harness.scheduler.next_at() <= now  # this batch did something, so the other rows may be unlocked


def test_errors_after_a_commit_are_emitted_and_delay_no_tick(
    harness: Harness, recorded_events: RecordedEvents
):
    late = [ValueError("ours"), KeyError("ours")]

    for _ in range(8):
        wake(harness, "scheduler")
        harness.thread.answer(Batch(failed=[FAILED], late_errors=late))

    assert [one.schedule for one in recorded_events.of(ScheduleFailed)] == ["nightly"] * 8
    assert kinds_of(recorded_events) == ["ValueError", "KeyError"]
    assert harness.scheduler.next_at() == pytest.approx(time.monotonic() + RETRY_SECONDS, abs=0.5)


@pytest.mark.parametrize("rest", [{"is_full": True}, {"next_in": 0.0, "failed": [FAILED]}])
def test_what_is_due_after_a_late_error_is_enqueued_at_once(harness: Harness, rest: dict[str, Any]):
    wake(harness, "scheduler")

    harness.thread.answer(Batch(late_errors=[ValueError("ours")], **rest))

    assert harness.scheduler.next_at() <= time.monotonic()


def test_an_outage_after_a_commit_is_left_to_those_who_report_it(
    harness: Harness, recorded_events: RecordedEvents
):
    wake(harness, "scheduler")

    harness.thread.answer(Batch(late_errors=[AWAY]))

    assert recorded_events.of(ScheduleOperationFailed) == []
    assert harness.scheduler.next_at() == pytest.approx(time.monotonic() + RETRY_SECONDS, abs=0.5)


def test_a_late_error_hides_no_schedule_that_was_refused(harness: Harness, recorded_events: RecordedEvents):
    wake(harness, "scheduler")

    harness.thread.answer(
        Batch(refused={"nightly": describe(KeyError("ours"))}, late_errors=[ValueError("ours")])
    )

    assert [one.schedule for one in recorded_events.of(ScheduleOperationFailed)] == [None, "nightly"]


def test_a_look_whose_failure_came_late_is_repeated_after_a_pause_that_ends_with_a_success(harness: Harness):
    def pause_after(answer: Any) -> float:
        wake(harness, "open")
        harness.open._look_up_at = 0.0  # as if the answer took more than a minute
        harness.thread.answer(answer)
        harness.open.on_heartbeat(True)
        return max(harness.open.next_at() - time.monotonic(), 0.0)

    pauses = [pause_after(ValueError("ours")) for _ in range(3)]
    success = pause_after(True)
    again = pause_after(ValueError("ours"))

    assert pauses == pytest.approx([1, 2, 4], abs=0.5)
    assert success == 0
    assert again == pytest.approx(1, abs=0.5)
