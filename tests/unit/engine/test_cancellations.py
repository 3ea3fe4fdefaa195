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
        self.requested: list[tuple[int, str, str]] = []

    def request(self, task_id: int, kind: str, comment: str = "") -> bool:
        if task_id in self.running:
            self.requested.append((task_id, kind, comment))
        return task_id in self.running


class Harness:
    """A manager with two fake workers; the test answers its queries and sets its clock."""

    def __init__(self, engine: IntakeHarness) -> None:
        self.engine = engine
        self.intake = engine.intake
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.interrupted = Interrupted()
        self.id: UUID | None = MANAGER
        self.now = time.monotonic()
        self.component = Cancellations(
            config_of(),
            self.thread,
            self.outage,
            engine.intake,
            engine.pool,
            self.interrupted,
            lambda: self.id,
        )

    def pending_call(self, later: float = 0.0) -> str | None:
        """Turn, ``later`` seconds after the last turn; return the name of the pending call."""
        self.now += later
        self.component.turn(self.now)
        return self.thread.pending_call

    def reads_requests(self, *requests: Request, later: float = 0.0, ended: Any = ()) -> None:
        """Make the manager read the requests, answer the query, and turn again."""
        self.component.read_now()
        assert self.pending_call(later) == "_read_requests"
        self.thread.answer(FoundRequests(list(requests), list(ended)))
        self.pending_call()

    def settled(self) -> list[RowChange]:
        """Write the gathered outcomes; return the changes."""
        batch = self.engine.outcomes.write()
        return [change for _, change in batch.changes]


@pytest.fixture
def harness(engine: IntakeHarness) -> Harness:
    return Harness(engine)


def request(row: TaskRow, comment: str = "stop") -> Request:
    return Request(row[ID], comment, False, row[TOKEN])


def test_nothing_is_looked_up_until_somebody_says_so(harness: Harness):
    assert harness.pending_call(later=3600) is None
    assert harness.component.next_at() == NEVER
    harness.component.on_heartbeat(False)
    assert harness.pending_call() is None

    harness.component.on_heartbeat(True)
    assert not harness.component.is_idle
    assert harness.pending_call() == "_read_requests"
    assert not harness.component.is_idle
    harness.thread.answer(FoundRequests([], []))

    assert harness.component.is_idle
    assert harness.pending_call(later=3600) is None


@pytest.mark.parametrize("reason", ["no identity", "busy", "outage"])
def test_a_look_waits_for_the_identity_the_thread_and_the_end_of_an_outage(harness: Harness, reason: str):
    harness.component.read_now()
    if reason == "no identity":
        harness.id = None
    elif reason == "busy":
        harness.thread.submit(lambda connection: None, lambda result: None)
    else:
        harness.outage.fail(AWAY)

    harness.component.turn(harness.now)

    assert len(harness.thread.calls) == (reason == "busy")
    if reason == "outage":
        assert harness.component.next_at() == harness.outage.retry_at


def test_a_task_in_the_buffer_ends_without_a_run(harness: Harness, recorded: RecordedEvents):
    rows = [task_row(1), task_row(2), task_row(3, takeovers=1)]
    harness.intake.on_claimed(rows)

    harness.reads_requests(request(rows[0]), request(rows[2], ""))

    assert harness.engine.buffered() == [2]
    assert harness.intake.buffer.suspects == []
    first, last = harness.settled()
    assert first == RowChange(
        1, 1, "error", attempts=0, reason="cancelled", error_type=TYPE, error_message="stop",
        error_traceback="", entry=first.entry,
    )  # fmt: skip
    assert json.loads(str(first.entry)) == {
        "outcome": "failed", "reason": "cancelled", "error_type": TYPE, "error_message": "stop",
    }  # fmt: skip
    assert last.error_message == "The task was cancelled."
    assert recorded.of(TasksCancelled) == [
        TasksCancelled("default", "Letter", 1, "stop", (1,)),
        TasksCancelled("default", "Letter", 1, "", (3,)),
    ]
    assert harness.engine.outcomes.settler.failed == 0


def test_a_task_that_comes_in_after_the_look_ends_without_a_run(harness: Harness):
    row, other = task_row(1), task_row(2)
    harness.reads_requests(request(row))

    harness.intake.on_claimed([row, other])

    assert harness.engine.buffered() == [2]
    assert [change.reason for change in harness.settled()] == ["cancelled"]


def test_a_later_claim_of_the_task_is_another(harness: Harness):
    """For example, it was requeued, which deletes the request."""
    harness.reads_requests(request(task_row(1)))

    harness.intake.on_claimed([task_row(1, token=2)])

    assert harness.engine.buffered() == [1]


def test_a_task_that_waits_for_a_revoked_run_ends_without_a_run(harness: Harness):
    worker = harness.engine.dispatch_to(0, task_row(1))
    harness.intake.revoke({1}, harness.engine.pool.workers)
    row = task_row(1, token=2)
    harness.intake.on_claimed([row])

    harness.reads_requests(request(row))
    worker.sends(report([1]))
    harness.engine.turn()

    assert [change.token for change in harness.settled()] == [2]
    assert harness.engine.buffered() == []


def test_the_interruption_of_a_running_task_is_asked_for_until_it_has_ended(harness: Harness):
    row = task_row(1)
    worker = harness.engine.dispatch_to(0, row)
    harness.interrupted.running.add(1)

    harness.reads_requests(request(row, "too long"))
    first = harness.interrupted.requested.copy()
    harness.pending_call(later=CHECK_SECONDS)

    assert first == [(1, "cancel", "too long")]
    assert harness.interrupted.requested == 2 * first
    assert not worker.was_rung()


def test_a_task_that_its_worker_has_not_started_is_recalled_and_ends_without_a_run(harness: Harness):
    rows = [task_row(1), task_row(2)]
    worker = harness.engine.dispatch_to(1, *rows)

    harness.reads_requests(request(rows[1]))
    assert worker.was_rung()
    worker.sends(Returned([2]))
    harness.engine.turn()

    assert [(change.id, change.reason) for change in harness.settled()] == [(2, "cancelled")]


def test_a_task_that_starts_before_it_is_returned_is_interrupted(harness: Harness):
    row = task_row(1)
    worker = harness.engine.dispatch_to(0, row)
    harness.reads_requests(request(row))
    worker.sends(Returned([]))
    harness.engine.turn()
    harness.interrupted.running.add(1)

    assert harness.component.next_at() <= harness.now + CHECK_SECONDS
    harness.pending_call(later=CHECK_SECONDS)

    assert [task_id for task_id, *_ in harness.interrupted.requested] == [1]


@pytest.mark.parametrize("token", [1, 2])
def test_a_run_that_would_be_repeated_ends_its_task(harness: Harness, recorded: RecordedEvents, token: int):
    row = task_row(1, token=token)
    worker = harness.engine.dispatch_to(0, row)
    harness.interrupted.running.add(1)
    harness.reads_requests(request(task_row(1)))
    change = RowChange(1, token, "new", 60.0, retries=1, error_type="app.Lost", error_message="no ink")
    change = change.after(RETRIED, EndedRun(1.0, 0.5, "here:17"))

    worker.sends(report([], changes=[tuple(change)]))
    harness.engine.turn()

    [settled] = harness.settled()
    if token == 2:  # from a claim after the request
        assert settled == change
        return
    assert (settled.status, settled.delay, settled.reason, settled.attempts) == ("error", 0.0, "cancelled", 1)
    assert (settled.error_type, settled.error_message) == (TYPE, "stop")
    entry = json.loads(str(settled.entry))
    assert (entry["outcome"], entry["reason"], entry["comment"]) == ("failed", "cancelled", "stop")
    assert (entry["error_type"], entry["seconds"], entry["worker"]) == ("app.Lost", 0.5, "here:17")
    assert recorded.of(TasksCancelled) == [TasksCancelled("default", "Letter", 1, "stop", (1,))]


def test_a_task_that_would_be_held_ends(harness: Harness):
    row = task_row(1)
    worker = harness.engine.dispatch_to(0, row)
    harness.reads_requests(request(row))

    worker.sends(report([], changes=[tuple(RowChange.hold(1, 1, "unregistered"))]))
    harness.engine.turn()

    [settled] = harness.settled()
    assert (settled.status, settled.held, settled.attempts) == ("error", None, 0)
    assert json.loads(str(settled.entry))["error_type"] == TYPE


def test_another_outcome_stays(harness: Harness):
    row = task_row(1)
    worker = harness.engine.dispatch_to(0, row)
    harness.reads_requests(request(row))
    change = RowChange(1, 1, "error", reason="error")

    worker.sends(report([], changes=[tuple(change)]))
    harness.engine.turn()

    assert harness.settled() == [change]


def test_a_task_whose_worker_dies_ends_when_the_crash_is_counted(harness: Harness):
    row = task_row(1)
    worker = harness.engine.dispatch_to(0, row)
    harness.interrupted.running.add(1)
    harness.reads_requests(request(row))
    harness.engine.begins(worker, 1)
    worker.exits(-9)
    harness.engine.turn()
    [(_, crash)] = harness.engine.outcomes.write().crashed
    harness.pending_call(later=1)

    [settled] = harness.settled()

    assert (settled.token, settled.attempts, settled.reason) == (crash.new_token, 0, "cancelled")
    assert harness.engine.buffered() == []


def test_while_the_manager_drains_a_task_that_comes_back_ends_instead_of_being_released(harness: Harness):
    rows = [task_row(1), task_row(2)]
    worker = harness.engine.dispatch_to(0, *rows)
    harness.reads_requests(request(rows[1]))
    harness.engine.drain.request()
    harness.component.stop()

    worker.sends(Returned([1, 2]))
    harness.engine.turn()

    batch = harness.engine.outcomes.write()
    assert [row[ID] for row in batch.released] == [1]
    assert [change.id for _, change in batch.changes] == [2]
    harness.component.read_now()
    assert harness.component.is_idle
    assert harness.pending_call() == "_read_requests"


def test_once_a_requested_task_has_ended_its_request_is_forgotten_and_the_table_looked_at(harness: Harness):
    row = task_row(1)
    worker = harness.engine.dispatch_to(0, row)
    harness.interrupted.running.add(1)
    harness.reads_requests(request(row))
    assert harness.pending_call(later=CHECK_SECONDS) is None

    worker.sends(report([1]))
    harness.engine.turn()
    assert harness.pending_call(later=CHECK_SECONDS) is None, "its outcome is not written yet"
    harness.engine.outcomes.write()

    assert harness.pending_call(later=CHECK_SECONDS) == "_read_requests"
    assert not harness.intake.cancel_requests


def test_a_request_for_a_task_that_is_not_known_here_waits_for_the_next_look(harness: Harness):
    """Its claim is unanswered, its answer was lost, or the task has just been settled."""
    harness.reads_requests(request(task_row(1)))

    assert harness.pending_call(later=CHECK_SECONDS) is None
    assert harness.pending_call(later=RETRY_SECONDS) == "_read_requests"
    harness.thread.answer(FoundRequests([], []))
    assert not harness.intake.cancel_requests
    assert harness.pending_call(later=3600) is None


def test_looks_become_rare_while_others_hold_requested_tasks(harness: Harness):
    """One of these tasks may come to this manager at any time."""
    pauses = []
    elsewhere = Request(1, "stop", False, None)
    harness.reads_requests(elsewhere)
    for _ in range(8):
        pauses.append(harness.component.next_at() - harness.now)
        assert harness.pending_call(later=pauses[-1] + 0.1) == "_read_requests"
        harness.thread.answer(FoundRequests([elsewhere], []))
        harness.component.on_heartbeat(False)
        harness.pending_call()

    assert pauses == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 10, 10])
    harness.component.read_now()
    assert harness.pending_call() == "_read_requests"
    harness.thread.answer(FoundRequests([elsewhere], []))
    harness.pending_call()
    assert harness.component.next_at() == harness.now + RETRY_SECONDS


def test_waiting_tasks_that_were_ended_are_emitted(harness: Harness, recorded: RecordedEvents):
    task = CancelledTask(1, "default", "Letter", False)

    harness.reads_requests(Request(1, "stop", True, None), ended=[(task, "stop")])

    assert recorded.of(TasksCancelled) == [TasksCancelled("default", "Letter", 1, "stop", (1,))]
    assert harness.pending_call(later=3600) is None


def test_a_look_is_repeated_soon_if_others_lock_what_waits(harness: Harness):
    harness.reads_requests(Request(1, "stop", True, None))

    assert harness.component.is_idle, "the manager may end: others look too"
    assert harness.component.next_at() == harness.now + RETRY_SECONDS
    assert harness.pending_call(later=RETRY_SECONDS) == "_read_requests"


def test_a_look_that_fails_is_repeated(harness: Harness, recorded: RecordedEvents):
    harness.component.read_now()
    assert harness.pending_call() == "_read_requests"
    harness.thread.answer(AWAY)

    assert len(recorded.of(ClaimFailed)) == 1
    assert harness.pending_call() is None
    assert harness.pending_call(later=RETRY_SECONDS) == "_read_requests"
    harness.thread.answer(FoundRequests([], []))
    assert len(recorded.of(DatabaseRestored)) == 1


def test_a_worker_without_a_requested_task_is_left_alone(harness: Harness, presence: PresenceFile):
    worker = harness.engine.dispatch_to(0, task_row(1))
    harness.reads_requests(request(task_row(2)), request(task_row(1, token=7)))

    assert not worker.was_rung()
