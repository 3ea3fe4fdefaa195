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


class Play:
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

    def asked(self, later: float = 0.0) -> tuple[str | None, dict[str, Any]]:
        """Turn, ``later`` seconds after the last turn; return the pending call's name and arguments."""
        self.now += later
        self.component.turn(self.now)
        return self.thread.asked, dict(self.thread.call.keywords) if self.thread.calls else {}

    def answers_query(self, result: Any, later: float = 0.0) -> dict[str, Any]:
        """Answer the next query; return its arguments."""
        function, asked = self.asked(later)
        assert function == "_query"
        self.thread.answer(result)
        return asked

    def resumes(self, result: Any, later: float = 0.0) -> tuple[str, int, bool]:
        """Answer the next resumption; return its processor, its limit, and whether the processor is known."""
        function, asked = self.asked(later)
        assert function == "resume"
        self.thread.answer(result)
        return asked["processor"], asked["limit"], asked.get("is_known", True)


@pytest.fixture
def play() -> Play:
    return Play()


def test_the_first_look_publishes_what_is_registered_and_the_next_ones_come_with_the_heartbeats(play):
    assert not play.component.is_idle

    first = play.answers_query(NOTHING)
    assert (first["manager"], first["publish"], first["unknown"]) == (play.id, {"Letter"}, [])
    assert play.component.is_idle
    assert play.asked()[0] is None
    assert play.component.next_at() == pytest.approx(play.now + QUERY_SECONDS)

    assert play.answers_query(NOTHING, later=QUERY_SECONDS)["publish"] is None


def test_a_new_identity_and_a_change_of_what_is_known_are_published_at_once(play):
    play.answers_query(NOTHING)
    play.id = uuid4()
    assert play.answers_query(NOTHING)["manager"] == play.id

    play.processors.note_unregistered("Letter")

    asked = play.answers_query(NOTHING)
    assert (asked["publish"], asked["unknown"]) == (frozenset(), ["Letter"])


def test_without_an_identity_or_while_the_chores_are_busy_it_waits(play):
    play.id = None
    assert play.asked()[0] is None
    assert play.component.next_at() == NEVER

    play.id = uuid4()
    play.asked()
    assert play.component.next_at() == NEVER
    assert not play.component.is_idle


def test_what_is_known_here_is_resumed_in_batches_and_told_once(play, recorded_events: RecordedEvents):
    play.answers_query(HeldTasksFound([held("Letter")], []))
    assert not play.component.is_idle
    assert play.component.next_at() <= play.now

    assert play.resumes(ROWS_AT_MOST) == ("Letter", ROWS_AT_MOST, True)
    assert recorded_events.of(TasksResumed) == []
    play.resumes(7)

    assert recorded_events.of(TasksResumed) == [
        TasksResumed("default", "Letter", ROWS_AT_MOST + 7, "unregistered")
    ]
    assert play.resumed == 1
    assert play.component.is_idle
    assert play.asked()[0] is None


def test_rows_that_others_resume_or_lock_are_not_told(play, recorded_events: RecordedEvents):
    play.answers_query(HeldTasksFound([held("Letter")], []))

    play.resumes(0)

    assert recorded_events.of(TasksResumed) == []
    assert play.resumed == 0


def test_what_a_worker_does_not_know_after_all_is_resumed_no_further(play):
    play.answers_query(HeldTasksFound([held("Letter")], []))
    play.processors.note_unregistered("Letter")

    play.resumes(ROWS_AT_MOST)

    assert play.asked()[0] == "_query"


def test_of_what_nobody_knows_one_task_tries_at_once_and_then_every_thirty_seconds(play):
    play.answers_query(HeldTasksFound([held("Gone")], []))
    assert not play.component.is_idle

    assert play.resumes(1) == ("Gone", 1, False)
    assert play.resumed == 1
    assert play.component.is_idle
    tried = 0
    for _ in range(int(TRY_SECONDS / QUERY_SECONDS)):
        assert play.asked()[0] is None
        assert play.answers_query(HeldTasksFound([held("Gone")], []), later=QUERY_SECONDS)["unknown"] == [
            "Gone"
        ]
        tried += bool(play.component._trying)

    assert tried == 1
    assert play.resumes(1) == ("Gone", 1, False)


def test_only_one_of_the_tasks_that_come_in_then_goes_to_a_worker_as_often_as_it_comes_back(play):
    rows = [task_row(number, "Gone") for number in range(3)]
    play.answers_query(HeldTasksFound([held("Gone")], []))

    assert play.processors.split([*rows, task_row(3)]) == ([rows[0], task_row(3)], rows[1:])
    assert play.processors.split(rows) == (rows[:1], rows[1:])


def test_what_another_manager_knows_is_left_to_it_as_long_as_it_does(play):
    play.answers_query(HeldTasksFound([held("Gone", is_known_elsewhere=True)], []))
    assert play.processors.left_to_others == ["Gone"]
    assert play.asked()[0] is None

    play.answers_query(HeldTasksFound([held("Gone", is_held=False)], []), later=QUERY_SECONDS)

    assert play.processors.left_to_others == []
    assert play.processors.unknown == {}


def test_a_processor_that_was_just_found_unknown_is_not_forgotten_before_it_may_try(play):
    play.processors.note_unregistered("Gone")

    play.answers_query(HeldTasksFound([held("Gone", is_held=False)], []))
    assert list(play.processors.unknown) == ["Gone"]

    play.answers_query(HeldTasksFound([held("Gone", is_held=False)], []), later=TRY_SECONDS + 1)
    assert play.processors.unknown == {}


def test_nothing_fails_in_the_first_lease_and_then_what_waited_for_too_long_does(
    play, recorded_events: RecordedEvents
):
    assert play.answers_query(NOTHING)["grace_seconds"] is None
    failed = FailedTask(7, "Gone", 10, attempts=2, retries=1, postpones=0, context='{"traceparent": "t"}')

    assert play.answers_query(HeldTasksFound([], [failed]), later=LEASE_SECONDS + 1)["grace_seconds"] == 3600

    [event] = recorded_events.of(TaskFailed)
    assert event.run == TaskRef(7, "Gone", "default", 10, 3, 1, 0, {"traceparent": "t"})
    assert (event.seconds, event.reason) == (None, "unregistered")
    assert event.error.type == "django_partisan.exceptions.UnregisteredTask"
    assert play.component.failed == 1
    assert play.asked()[0] is None


def test_a_task_that_expired_while_it_was_held_is_no_failure(play, recorded_events: RecordedEvents):
    play.answers_query(HeldTasksFound([], [FailedTask(7, "Gone", 10, 0, 0, 0, None, has_expired=True)]))

    [event] = recorded_events.of(TaskExpired)
    assert (event.task.id, event.task.processor, event.task.attempt) == (7, "Gone", 1)
    assert recorded_events.of(TaskFailed) == []
    assert play.component.failed == 0


def test_if_more_failed_than_one_statement_takes_it_looks_again_at_once(play):
    play.answers_query(
        HeldTasksFound([], [FailedTask(n, "Gone", 10, 0, 0, 0, None) for n in range(ROWS_AT_MOST)])
    )

    assert play.asked()[0] == "_query"


def test_what_is_set_aside_is_told_at_once_then_once_a_minute_and_at_the_end(
    play, recorded_events: RecordedEvents
):
    def set_aside(*ids: int) -> None:
        for task_id in ids:
            play.processors.note_held(task_row(task_id, "Gone"))

    play.processors.note_unregistered("Gone")
    set_aside(1, 2)
    play.answers_query(NOTHING)
    set_aside(3)
    play.answers_query(NOTHING, later=EMIT_SECONDS - 1)
    assert [event.number for event in recorded_events.of(TasksHeld)] == [2]

    play.asked(later=1)
    set_aside(4)
    play.component.stop()
    play.asked()

    assert [event.number for event in recorded_events.of(TasksHeld)] == [2, 1, 1]
    assert recorded_events.of(TasksHeld)[0] == TasksHeld("default", "Gone", 2, "unregistered")


def test_a_look_without_an_answer_is_an_outage_and_is_made_again_with_what_it_was_to_publish(play):
    play.answers_query(AWAY)
    assert play.outage.is_on
    assert not play.component.is_idle

    assert play.answers_query(NOTHING, later=1)["publish"] == {"Letter"}

    assert not play.outage.is_on


def test_a_resumption_without_an_answer_is_an_outage_and_comes_again_with_a_later_look(play):
    play.answers_query(HeldTasksFound([held("Letter")], []))
    play.resumes(AWAY)
    assert play.outage.is_on
    assert play.component.next_at() == pytest.approx(play.now + QUERY_SECONDS)

    play.answers_query(NOTHING, later=QUERY_SECONDS)

    assert not play.outage.is_on


def test_a_batch_that_the_server_cancels_early_is_halved_and_no_outage(play):
    play.answers_query(HeldTasksFound([held("Letter")], []))
    play.component._began_at = time.monotonic()
    play.resumes(CANCELLED)

    assert play.resumes(0)[1] == ROWS_AT_MOST // 2
    assert not play.outage.is_on


def test_a_task_that_could_not_try_has_told_nobody(play):
    play.answers_query(HeldTasksFound([held("Gone")], []))

    play.resumes(AWAY)

    assert play.resumed == 0


def test_stopped_it_says_that_it_can_run_nothing_asks_nothing_more_and_is_idle(play):
    play.answers_query(HeldTasksFound([held("Letter")], []))

    play.component.stop()

    assert play.thread.call.keywords == {"manager": play.id}
    play.thread.answer(None)
    assert play.asked(later=99)[0] is None
    assert play.component.is_idle
    assert play.component.next_at() == NEVER


@pytest.mark.parametrize("why", ["busy", "away", "no identity"])
def test_stopped_while_the_database_is_busy_or_away_it_does_not_hold_up_the_stop(why, play):
    if why == "busy":
        play.asked()
    elif why == "away":
        play.outage.note(AWAY)
    else:
        play.id = None
    calls = len(play.thread.calls)

    play.component.stop()

    assert len(play.thread.calls) == calls
