"""When a manager looks for held tasks, and how it handles them."""

import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.held_tasks import EMIT_SECONDS, ROWS_AT_MOST, HeldTasks, HeldTasksFound
from django_partisan.engine.manager.known_processors import TRY_SECONDS, KnownProcessors
from django_partisan.engine.manager.outage import ClaimOutage, SharedOutage
from django_partisan.sql.holding import FailedTask, HeldProcessor
from django_partisan.telemetry.events.queues import TasksHeld, TasksResumed
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.tasks import TaskExpired
from django_partisan.telemetry.events.values import TaskRef
from tests.support.engine import AWAY, CANCELLED, FakeDatabaseThread, config_of
from tests.support.events import RecordedEvents
from tests.support.rows import task_row

NOTHING = HeldTasksFound([], [])
LEASE_SECONDS = 30.0
QUERY_SECONDS = LEASE_SECONDS / 3


def held(name: str, is_held: bool = True, is_known_elsewhere: bool = False) -> HeldProcessor:
    return HeldProcessor(name, is_held, is_known_elsewhere)


class Harness:
    """A manager that has registered ``Letter``; the test answers its calls and sets its clock."""

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.processors = KnownProcessors(["Letter"])
        self.id: UUID | None = uuid4()
        self.resumed = 0
        self.now = time.monotonic()
        config = config_of(lease_seconds=LEASE_SECONDS, unregistered_grace_seconds=3600)
        self.component = HeldTasks(
            config, self.thread, self.outage, self.processors, lambda: self.id, self._note_resumed
        )

    def _note_resumed(self) -> None:
        self.resumed += 1

    def pending_call(self, later: float = 0.0) -> tuple[str | None, dict[str, Any]]:
        """Turn, ``later`` seconds after the last turn; return the pending call's name and arguments."""
        self.now += later
        self.component.turn(self.now)
        return self.thread.pending_call, dict(self.thread.call.keywords) if self.thread.calls else {}

    def answers_query(self, result: Any, later: float = 0.0) -> dict[str, Any]:
        """Answer the next query; return its arguments."""
        function, asked = self.pending_call(later)
        assert function == "_query"
        self.thread.answer(result)
        return asked

    def asks_nothing(self, later: float = 0.0) -> bool:
        """Turn, ``later`` seconds after the last turn; return whether there is no call now or later."""
        return self.pending_call(later)[0] is None and self.component.next_at() == NEVER

    def resumes(self, result: Any, later: float = 0.0) -> tuple[str, int, bool]:
        """Answer the next resumption; return its processor, its limit, and whether the processor is known."""
        function, asked = self.pending_call(later)
        assert function == "resume"
        self.thread.answer(result)
        return asked["processor"], asked["limit"], asked.get("is_known", True)


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_the_first_look_publishes_what_is_registered_and_the_next_ones_follow_heartbeats_that_found_any(
    harness,
):
    assert not harness.component.is_idle

    first = harness.answers_query(NOTHING)
    assert (first["manager"], first["publish"], first["unknown"]) == (harness.id, {"Letter"}, [])
    assert harness.component.is_idle
    assert harness.asks_nothing()

    harness.component.on_heartbeat(False)
    assert harness.asks_nothing(later=QUERY_SECONDS)

    harness.component.on_heartbeat(True)
    assert harness.component.next_at() <= harness.now
    assert harness.answers_query(NOTHING)["publish"] is None
    assert harness.asks_nothing(later=QUERY_SECONDS)


def test_heartbeats_that_find_some_more_often_make_it_look_no_more_often(harness):
    harness.answers_query(HeldTasksFound([held("Letter")], []))
    harness.resumes(0)

    for _ in range(int(QUERY_SECONDS) - 1):
        harness.component.on_heartbeat(True)
        assert harness.pending_call(later=1)[0] is None
    assert harness.component.next_at() == pytest.approx(harness.now + 1)

    harness.answers_query(NOTHING, later=1)
    assert harness.asks_nothing()


def test_what_a_heartbeat_finds_during_a_look_is_looked_for_once_more(harness):
    harness.pending_call()
    harness.component.on_heartbeat(True)
    harness.thread.answer(NOTHING)

    assert harness.pending_call()[0] is None
    assert harness.component.next_at() == pytest.approx(harness.now + QUERY_SECONDS)
    harness.answers_query(NOTHING, later=QUERY_SECONDS)
    assert harness.asks_nothing(later=QUERY_SECONDS)


def test_while_a_processor_is_unknown_here_it_looks_as_often_as_heartbeats_are_sent_whatever_they_find(
    harness,
):
    elsewhere = HeldTasksFound([held("Gone", is_held=False, is_known_elsewhere=True)], [])
    harness.answers_query(HeldTasksFound([held("Gone", is_known_elsewhere=True)], []))

    for number in range(6):
        harness.component.on_heartbeat(has_held=bool(number % 2))
        assert harness.pending_call(later=QUERY_SECONDS - 1)[0] is None
        assert harness.component.next_at() == pytest.approx(harness.now + 1)
        assert harness.answers_query(elsewhere, later=1)["unknown"] == ["Gone"]

    harness.answers_query(HeldTasksFound([held("Gone", is_held=False)], []), later=QUERY_SECONDS)
    assert harness.processors.unknown == {}
    assert harness.asks_nothing(later=QUERY_SECONDS)


def test_a_new_identity_and_a_change_of_what_is_known_are_published_at_once(harness):
    harness.answers_query(NOTHING)
    harness.id = uuid4()
    assert harness.answers_query(NOTHING)["manager"] == harness.id

    harness.processors.note_unregistered("Letter")

    asked = harness.answers_query(NOTHING)
    assert (asked["publish"], asked["unknown"]) == (frozenset(), ["Letter"])


def test_without_an_identity_or_while_the_chores_are_busy_it_waits(harness):
    harness.id = None
    assert harness.pending_call()[0] is None
    assert harness.component.next_at() == NEVER

    harness.id = uuid4()
    harness.pending_call()
    assert harness.component.next_at() == NEVER
    assert not harness.component.is_idle


def test_what_is_known_here_is_resumed_in_batches_and_told_once(harness, recorded_events: RecordedEvents):
    harness.answers_query(HeldTasksFound([held("Letter")], []))
    assert not harness.component.is_idle
    assert harness.component.next_at() <= harness.now

    assert harness.resumes(ROWS_AT_MOST) == ("Letter", ROWS_AT_MOST, True)
    assert recorded_events.of(TasksResumed) == []
    harness.resumes(7)

    assert recorded_events.of(TasksResumed) == [
        TasksResumed("default", "Letter", ROWS_AT_MOST + 7, "unregistered")
    ]
    assert harness.resumed == 1
    assert harness.component.is_idle
    assert harness.pending_call()[0] is None


def test_rows_that_others_resume_or_lock_are_not_told(harness, recorded_events: RecordedEvents):
    harness.answers_query(HeldTasksFound([held("Letter")], []))

    harness.resumes(0)

    assert recorded_events.of(TasksResumed) == []
    assert harness.resumed == 0


def test_what_a_worker_does_not_know_after_all_is_resumed_no_further(harness):
    harness.answers_query(HeldTasksFound([held("Letter")], []))
    harness.processors.note_unregistered("Letter")

    harness.resumes(ROWS_AT_MOST)

    assert harness.pending_call()[0] == "_query"


def test_of_what_nobody_knows_one_task_tries_at_once_and_then_every_thirty_seconds(harness):
    harness.answers_query(HeldTasksFound([held("Gone")], []))
    assert not harness.component.is_idle

    assert harness.resumes(1) == ("Gone", 1, False)
    assert harness.resumed == 1
    assert harness.component.is_idle
    tried = 0
    for _ in range(int(TRY_SECONDS / QUERY_SECONDS)):
        assert harness.pending_call()[0] is None
        assert harness.answers_query(HeldTasksFound([held("Gone")], []), later=QUERY_SECONDS)["unknown"] == [
            "Gone"
        ]
        tried += bool(harness.component._trying)

    assert tried == 1
    assert harness.resumes(1) == ("Gone", 1, False)


def test_only_one_of_the_tasks_that_come_in_then_goes_to_a_worker_as_often_as_it_comes_back(harness):
    rows = [task_row(number, "Gone") for number in range(3)]
    harness.answers_query(HeldTasksFound([held("Gone")], []))

    assert harness.processors.split([*rows, task_row(3)]) == ([rows[0], task_row(3)], rows[1:])
    assert harness.processors.split(rows) == (rows[:1], rows[1:])


def test_what_another_manager_knows_is_left_to_it_as_long_as_it_does(harness):
    harness.answers_query(HeldTasksFound([held("Gone", is_known_elsewhere=True)], []))
    assert harness.processors.left_to_others == ["Gone"]
    assert harness.pending_call()[0] is None

    harness.answers_query(HeldTasksFound([held("Gone", is_held=False)], []), later=QUERY_SECONDS)

    assert harness.processors.left_to_others == []
    assert harness.processors.unknown == {}


def test_a_processor_that_was_just_found_unknown_is_not_forgotten_before_it_may_try(harness):
    harness.processors.note_unregistered("Gone")

    harness.answers_query(HeldTasksFound([held("Gone", is_held=False)], []))
    assert list(harness.processors.unknown) == ["Gone"]

    harness.answers_query(HeldTasksFound([held("Gone", is_held=False)], []), later=TRY_SECONDS + 1)
    assert harness.processors.unknown == {}


def test_nothing_fails_in_the_first_lease_and_then_what_waited_for_too_long_does(
    harness, recorded_events: RecordedEvents
):
    assert harness.answers_query(NOTHING)["grace_seconds"] is None
    harness.component.on_heartbeat(True)
    failed = FailedTask(7, "Gone", 10, attempts=2, retries=1, postpones=0, context='{"traceparent": "t"}')

    assert (
        harness.answers_query(HeldTasksFound([], [failed]), later=LEASE_SECONDS + 1)["grace_seconds"] == 3600
    )

    [event] = recorded_events.of(TaskFailed)
    assert event.run == TaskRef(7, "Gone", "default", 10, 3, 1, 0, {"traceparent": "t"})
    assert (event.seconds, event.reason) == (None, "unregistered")
    assert event.error.type == "django_partisan.exceptions.UnregisteredTask"
    assert harness.component.failed == 1
    assert harness.pending_call()[0] is None


def test_a_task_that_expired_while_it_was_held_is_no_failure(harness, recorded_events: RecordedEvents):
    harness.answers_query(HeldTasksFound([], [FailedTask(7, "Gone", 10, 0, 0, 0, None, has_expired=True)]))

    [event] = recorded_events.of(TaskExpired)
    assert (event.task.id, event.task.processor, event.task.attempt) == (7, "Gone", 1)
    assert recorded_events.of(TaskFailed) == []
    assert harness.component.failed == 0


def ended(number: int) -> list[FailedTask]:
    return [FailedTask(task_id, "Gone", 10, 0, 0, 0, None) for task_id in range(number)]


def test_if_more_failed_than_one_statement_takes_it_looks_again_at_once(harness):
    harness.answers_query(HeldTasksFound([], ended(ROWS_AT_MOST)))
    assert harness.component.next_at() <= harness.now

    harness.answers_query(HeldTasksFound([], ended(ROWS_AT_MOST - 1)))
    assert harness.asks_nothing(later=QUERY_SECONDS)


def test_if_more_failed_than_one_statement_takes_it_looks_at_once_for_those_that_are_left(harness):
    harness.answers_query(HeldTasksFound([held("Gone")], ended(ROWS_AT_MOST)))
    harness.resumes(1)
    assert harness.component.next_at() <= harness.now

    harness.answers_query(HeldTasksFound([held("Gone")], ended(ROWS_AT_MOST - 1)))
    assert harness.component.next_at() == pytest.approx(harness.now + QUERY_SECONDS)


def test_what_nobody_knows_is_looked_for_until_it_may_fail(harness):
    gone = HeldTasksFound([held("Gone")], [])
    harness.answers_query(gone)
    harness.resumes(1)

    for _ in range(int(LEASE_SECONDS / QUERY_SECONDS)):
        assert harness.answers_query(gone, later=QUERY_SECONDS)["grace_seconds"] is None
    harness.resumes(1)

    assert harness.answers_query(NOTHING, later=QUERY_SECONDS)["grace_seconds"] == 3600


def test_what_is_set_aside_is_told_at_once_then_once_a_minute_and_at_the_end(
    harness, recorded_events: RecordedEvents
):
    def set_aside(*ids: int) -> None:
        for task_id in ids:
            harness.processors.note_held(task_row(task_id, "Gone"))

    harness.processors.note_unregistered("Gone")
    set_aside(1, 2)
    harness.answers_query(NOTHING)
    set_aside(3)
    harness.answers_query(NOTHING, later=EMIT_SECONDS - 1)
    assert [event.number for event in recorded_events.of(TasksHeld)] == [2]

    harness.pending_call(later=1)
    set_aside(4)
    harness.component.stop()
    harness.pending_call()

    assert [event.number for event in recorded_events.of(TasksHeld)] == [2, 1, 1]
    assert recorded_events.of(TasksHeld)[0] == TasksHeld("default", "Gone", 2, "unregistered")


def test_a_look_without_an_answer_is_an_outage_and_is_made_again_with_what_it_was_to_publish(harness):
    harness.answers_query(AWAY)
    assert harness.outage.is_on
    assert not harness.component.is_idle
    assert harness.component.next_at() == harness.outage.retry_at

    assert harness.answers_query(NOTHING, later=1)["publish"] == {"Letter"}

    assert not harness.outage.is_on


def test_a_later_look_without_an_answer_is_made_again_whether_a_heartbeat_finds_any_or_not(harness):
    harness.answers_query(NOTHING)
    harness.component.on_heartbeat(True)
    harness.answers_query(AWAY, later=QUERY_SECONDS)
    harness.component.on_heartbeat(False)
    assert harness.component.next_at() == pytest.approx(harness.now + QUERY_SECONDS)

    harness.answers_query(NOTHING, later=QUERY_SECONDS)

    assert not harness.outage.is_on
    assert harness.asks_nothing(later=QUERY_SECONDS)


def test_a_change_during_an_outage_is_published_when_the_pause_of_the_outage_ends(harness):
    harness.answers_query(NOTHING)
    harness.outage.fail(AWAY)
    harness.id = uuid4()

    assert harness.component.next_at() == harness.outage.retry_at
    assert harness.answers_query(NOTHING, later=1)["manager"] == harness.id


def test_a_resumption_without_an_answer_is_an_outage_and_comes_again_with_a_later_look(harness):
    harness.answers_query(HeldTasksFound([held("Letter")], []))
    harness.resumes(AWAY)
    assert harness.outage.is_on
    assert harness.component.next_at() == pytest.approx(harness.now + QUERY_SECONDS)

    harness.answers_query(NOTHING, later=QUERY_SECONDS)

    assert not harness.outage.is_on


def test_a_batch_that_the_server_cancels_early_is_halved_and_no_outage(harness):
    harness.answers_query(HeldTasksFound([held("Letter")], []))
    harness.component._began_at = time.monotonic()
    harness.resumes(CANCELLED)

    assert harness.resumes(0)[1] == ROWS_AT_MOST // 2
    assert not harness.outage.is_on


def test_a_failed_resumption_does_not_call_back(harness):
    harness.answers_query(HeldTasksFound([held("Gone")], []))

    harness.resumes(AWAY)

    assert harness.resumed == 0


def test_stopped_it_says_that_it_can_run_nothing_asks_nothing_more_and_is_idle(harness):
    harness.answers_query(HeldTasksFound([held("Letter")], []))

    harness.component.stop()

    assert harness.thread.call.keywords == {"manager": harness.id}
    harness.thread.answer(None)
    harness.component.on_heartbeat(True)
    assert harness.pending_call(later=99)[0] is None
    assert harness.component.is_idle
    assert harness.component.next_at() == NEVER


@pytest.mark.parametrize("why", ["busy", "away", "no identity"])
def test_stopped_while_the_database_is_busy_or_away_it_does_not_hold_up_the_stop(why, harness):
    if why == "busy":
        harness.pending_call()
    elif why == "away":
        harness.outage.note(AWAY)
    else:
        harness.id = None
    calls = len(harness.thread.calls)

    harness.component.stop()

    assert len(harness.thread.calls) == calls
