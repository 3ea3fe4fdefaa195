"""When a manager looks for cancel requests, and how it ends the requested tasks that it holds."""

import json
import time
from typing import Any
from uuid import UUID

import pytest

from django_partisan.engine.manager.cancellations import (
    CHECK_SECONDS,
    RETRY_SECONDS,
    Cancellations,
    FoundRequests,
)
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.outage import ClaimOutage, SharedOutage
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import Returned
from django_partisan.outcomes import RETRIED
from django_partisan.sql.cancelling import CancelledTask, Request
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import RowChange
from django_partisan.telemetry.events.managers import DatabaseRestored
from django_partisan.telemetry.events.operators import TasksCancelled
from django_partisan.telemetry.events.queues import ClaimFailed
from tests.support.engine import AWAY, MANAGER, FakeDatabaseThread, IntakeHarness, config_of, report
from tests.support.events import RecordedEvents
from tests.support.rows import task_row

TYPE = "django_partisan.exceptions.TaskCancelled"


class Interrupted:
    """A double of the interruptions; the test says which tasks are running."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.asked: list[tuple[int, str, str]] = []

    def request(self, task_id: int, kind: str, comment: str = "") -> bool:
        if task_id in self.running:
            self.asked.append((task_id, kind, comment))
        return task_id in self.running


class Play:
    """A manager with two fake workers; the test answers its queries and sets its clock."""

    def __init__(self, desk: IntakeHarness) -> None:
        self.desk = desk
        self.intake = desk.intake
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.interrupted = Interrupted()
        self.id: UUID | None = MANAGER
        self.now = time.monotonic()
        self.component = Cancellations(
            config_of(),
            self.thread,
            self.outage,
            desk.intake,
            desk.pool,
            self.interrupted,
            lambda: self.id,
        )

    def asked(self, later: float = 0.0) -> str | None:
        """Turn, ``later`` seconds after the last turn; return the name of the pending call."""
        self.now += later
        self.component.turn(self.now)
        return self.thread.asked

    def reads_requests(self, *requests: Request, later: float = 0.0, ended: Any = ()) -> None:
        """Make the manager read the requests, answer the query, and turn again."""
        self.component.read_now()
        assert self.asked(later) == "_read_requests"
        self.thread.answer(FoundRequests(list(requests), list(ended)))
        self.asked()

    def settled(self) -> list[RowChange]:
        """Write the gathered outcomes; return the changes."""
        batch = self.desk.outcomes.write()
        return [change for _, change in batch.changes]


@pytest.fixture
def play(desk: IntakeHarness) -> Play:
    return Play(desk)


def request(row: TaskRow, comment: str = "stop") -> Request:
    return Request(row[ID], comment, False, row[TOKEN])


def test_nothing_is_looked_up_until_somebody_says_so(play: Play):
    assert play.asked(later=3600) is None
    assert play.component.next_at() == NEVER
    play.component.on_heartbeat(False)
    assert play.asked() is None

    play.component.on_heartbeat(True)
    assert not play.component.is_idle
    assert play.asked() == "_read_requests"
    assert not play.component.is_idle
    play.thread.answer(FoundRequests([], []))

    assert play.component.is_idle
    assert play.asked(later=3600) is None


@pytest.mark.parametrize("reason", ["no identity", "busy", "outage"])
def test_a_look_waits_for_the_identity_the_thread_and_the_end_of_an_outage(play: Play, reason: str):
    play.component.read_now()
    if reason == "no identity":
        play.id = None
    elif reason == "busy":
        play.thread.submit(lambda connection: None, lambda result: None)
    else:
        play.outage.fail(AWAY)

    play.component.turn(play.now)

    assert len(play.thread.calls) == (reason == "busy")
    if reason == "outage":
        assert play.component.next_at() == play.outage.retry_at


def test_a_task_in_the_buffer_ends_without_a_run(play: Play, heard: RecordedEvents):
    rows = [task_row(1), task_row(2), task_row(3, takeovers=1)]
    play.intake.on_claimed(rows)

    play.reads_requests(request(rows[0]), request(rows[2], ""))

    assert play.desk.buffered() == [2]
    assert play.intake.buffer.suspects == []
    first, last = play.settled()
    assert first == RowChange(
        1, 1, "error", attempts=0, reason="cancelled", error_type=TYPE, error_message="stop",
        error_traceback="", entry=first.entry,
    )  # fmt: skip
    assert json.loads(str(first.entry)) == {
        "outcome": "failed", "reason": "cancelled", "error_type": TYPE, "error_message": "stop",
    }  # fmt: skip
    assert last.error_message == "The task was cancelled."
    assert heard.of(TasksCancelled) == [
        TasksCancelled("default", "Letter", 1, "stop", (1,)),
        TasksCancelled("default", "Letter", 1, "", (3,)),
    ]
    assert play.desk.outcomes.settler.failed == 0


def test_a_task_that_comes_in_after_the_look_ends_without_a_run(play: Play):
    row, other = task_row(1), task_row(2)
    play.reads_requests(request(row))

    play.intake.on_claimed([row, other])

    assert play.desk.buffered() == [2]
    assert [change.reason for change in play.settled()] == ["cancelled"]


def test_a_later_claim_of_the_task_is_another(play: Play):
    """For example, it was requeued, which deletes the request."""
    play.reads_requests(request(task_row(1)))

    play.intake.on_claimed([task_row(1, token=2)])

    assert play.desk.buffered() == [1]


def test_a_task_that_waits_for_a_revoked_run_ends_without_a_run(play: Play):
    worker = play.desk.gives(0, task_row(1))
    play.intake.revoke({1}, play.desk.pool.workers)
    row = task_row(1, token=2)
    play.intake.on_claimed([row])

    play.reads_requests(request(row))
    worker.says(report([1]))
    play.desk.turn()

    assert [change.token for change in play.settled()] == [2]
    assert play.desk.buffered() == []


def test_the_interruption_of_a_running_task_is_asked_for_until_it_has_ended(play: Play):
    row = task_row(1)
    worker = play.desk.gives(0, row)
    play.interrupted.running.add(1)

    play.reads_requests(request(row, "too long"))
    first = play.interrupted.asked.copy()
    play.asked(later=CHECK_SECONDS)

    assert first == [(1, "cancel", "too long")]
    assert play.interrupted.asked == 2 * first
    assert not worker.rung()


def test_a_task_that_its_worker_has_not_started_is_recalled_and_ends_without_a_run(play: Play):
    rows = [task_row(1), task_row(2)]
    worker = play.desk.gives(1, *rows)

    play.reads_requests(request(rows[1]))
    assert worker.rung()
    worker.says(Returned([2]))
    play.desk.turn()

    assert [(change.id, change.reason) for change in play.settled()] == [(2, "cancelled")]


def test_a_task_that_starts_before_it_is_returned_is_interrupted(play: Play):
    row = task_row(1)
    worker = play.desk.gives(0, row)
    play.reads_requests(request(row))
    worker.says(Returned([]))
    play.desk.turn()
    play.interrupted.running.add(1)

    assert play.component.next_at() <= play.now + CHECK_SECONDS
    play.asked(later=CHECK_SECONDS)

    assert [task_id for task_id, *_ in play.interrupted.asked] == [1]


@pytest.mark.parametrize("token", [1, 2])
def test_a_run_that_would_be_repeated_ends_its_task(play: Play, heard: RecordedEvents, token: int):
    row = task_row(1, token=token)
    worker = play.desk.gives(0, row)
    play.interrupted.running.add(1)
    play.reads_requests(request(task_row(1)))
    change = RowChange(1, token, "new", 60.0, retries=1, error_type="app.Lost", error_message="no ink")
    change = change.after(RETRIED, EndedRun(1.0, 0.5, "here:17"))

    worker.says(report([], changes=[tuple(change)]))
    play.desk.turn()

    [settled] = play.settled()
    if token == 2:  # from a claim after the request
        assert settled == change
        return
    assert (settled.status, settled.delay, settled.reason, settled.attempts) == ("error", 0.0, "cancelled", 1)
    assert (settled.error_type, settled.error_message) == (TYPE, "stop")
    entry = json.loads(str(settled.entry))
    assert (entry["outcome"], entry["reason"], entry["comment"]) == ("failed", "cancelled", "stop")
    assert (entry["error_type"], entry["seconds"], entry["worker"]) == ("app.Lost", 0.5, "here:17")
    assert heard.of(TasksCancelled) == [TasksCancelled("default", "Letter", 1, "stop", (1,))]


def test_a_task_that_would_be_held_ends(play: Play):
    row = task_row(1)
    worker = play.desk.gives(0, row)
    play.reads_requests(request(row))

    worker.says(report([], changes=[tuple(RowChange.hold(1, 1, "unregistered"))]))
    play.desk.turn()

    [settled] = play.settled()
    assert (settled.status, settled.held, settled.attempts) == ("error", None, 0)
    assert json.loads(str(settled.entry))["error_type"] == TYPE


def test_another_outcome_stays(play: Play):
    row = task_row(1)
    worker = play.desk.gives(0, row)
    play.reads_requests(request(row))
    change = RowChange(1, 1, "error", reason="error")

    worker.says(report([], changes=[tuple(change)]))
    play.desk.turn()

    assert play.settled() == [change]


def test_a_task_whose_worker_dies_ends_when_the_crash_is_counted(play: Play):
    row = task_row(1)
    worker = play.desk.gives(0, row)
    play.interrupted.running.add(1)
    play.reads_requests(request(row))
    play.desk.begins(worker, 1)
    worker.exits(-9)
    play.desk.turn()
    [(_, crash)] = play.desk.outcomes.write().crashed
    play.asked(later=1)

    [settled] = play.settled()

    assert (settled.token, settled.attempts, settled.reason) == (crash.new_token, 0, "cancelled")
    assert play.desk.buffered() == []


def test_while_the_manager_drains_a_task_that_comes_back_ends_instead_of_being_released(play: Play):
    rows = [task_row(1), task_row(2)]
    worker = play.desk.gives(0, *rows)
    play.reads_requests(request(rows[1]))
    play.desk.drain.request()
    play.component.stop()

    worker.says(Returned([1, 2]))
    play.desk.turn()

    batch = play.desk.outcomes.write()
    assert [row[ID] for row in batch.released] == [1]
    assert [change.id for _, change in batch.changes] == [2]
    play.component.read_now()
    assert play.component.is_idle
    assert play.asked() == "_read_requests"


def test_once_a_requested_task_has_ended_its_request_is_forgotten_and_the_table_looked_at(play: Play):
    row = task_row(1)
    worker = play.desk.gives(0, row)
    play.interrupted.running.add(1)
    play.reads_requests(request(row))
    assert play.asked(later=CHECK_SECONDS) is None

    worker.says(report([1]))
    play.desk.turn()
    assert play.asked(later=CHECK_SECONDS) is None, "its outcome is not written yet"
    play.desk.outcomes.write()

    assert play.asked(later=CHECK_SECONDS) == "_read_requests"
    assert not play.intake.cancel_requests


def test_a_request_for_a_task_that_is_not_known_here_waits_for_the_next_look(play: Play):
    """Its claim is unanswered, its answer was lost, or the task has just been settled."""
    play.reads_requests(request(task_row(1)))

    assert play.asked(later=CHECK_SECONDS) is None
    assert play.asked(later=RETRY_SECONDS) == "_read_requests"
    play.thread.answer(FoundRequests([], []))
    assert not play.intake.cancel_requests
    assert play.asked(later=3600) is None


def test_looks_become_rare_while_others_hold_requested_tasks(play: Play):
    """One of these tasks may come to this manager at any time."""
    pauses = []
    elsewhere = Request(1, "stop", False, None)
    play.reads_requests(elsewhere)
    for _ in range(8):
        pauses.append(play.component.next_at() - play.now)
        assert play.asked(later=pauses[-1] + 0.1) == "_read_requests"
        play.thread.answer(FoundRequests([elsewhere], []))
        play.component.on_heartbeat(False)
        play.asked()

    assert pauses == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 10, 10])
    play.component.read_now()
    assert play.asked() == "_read_requests"
    play.thread.answer(FoundRequests([elsewhere], []))
    play.asked()
    assert play.component.next_at() == play.now + RETRY_SECONDS


def test_waiting_tasks_that_were_ended_are_emitted(play: Play, heard: RecordedEvents):
    task = CancelledTask(1, "default", "Letter", False)

    play.reads_requests(Request(1, "stop", True, None), ended=[(task, "stop")])

    assert heard.of(TasksCancelled) == [TasksCancelled("default", "Letter", 1, "stop", (1,))]
    assert play.asked(later=3600) is None


def test_a_look_is_repeated_soon_if_others_lock_what_waits(play: Play):
    play.reads_requests(Request(1, "stop", True, None))

    assert play.component.is_idle, "the manager may end: others look too"
    assert play.component.next_at() == play.now + RETRY_SECONDS
    assert play.asked(later=RETRY_SECONDS) == "_read_requests"


def test_a_look_that_fails_is_repeated(play: Play, heard: RecordedEvents):
    play.component.read_now()
    assert play.asked() == "_read_requests"
    play.thread.answer(AWAY)

    assert len(heard.of(ClaimFailed)) == 1
    assert play.asked() is None
    assert play.asked(later=RETRY_SECONDS) == "_read_requests"
    play.thread.answer(FoundRequests([], []))
    assert len(heard.of(DatabaseRestored)) == 1


def test_a_worker_without_a_requested_task_is_left_alone(play: Play, presence: PresenceFile):
    worker = play.desk.gives(0, task_row(1))
    play.reads_requests(request(task_row(2)), request(task_row(1, token=7)))

    assert not worker.rung()
