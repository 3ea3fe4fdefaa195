"""Between losing and renewing a lease, answers to calls under the old lease are not trusted.

The parts are those of a real manager; the test answers their calls to PostgreSQL.
"""

import selectors
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager.assembly import Assembly, Resources
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.heartbeat import Answer
from django_partisan.engine.presence import PresenceFile
from django_partisan.outcomes import REASON_WORKER_LOST
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.leasing import HeartbeatResult
from django_partisan.telemetry.events.tasks import TaskRescued
from tests.support.engine import ALL_WRITTEN, NOTHING_DUE, FakeDatabaseThread, FakeStarter, spec_of
from tests.support.events import RecordedEvents
from tests.support.rows import task_row


class Harness:
    """A manager with a lease and one ready worker, which gets no tasks."""

    def __init__(self, presence: PresenceFile) -> None:
        self.threads = {role: FakeDatabaseThread() for role in ("claim", "settle", "pulse", "chores")}
        self.selector = selectors.DefaultSelector()
        self.starter = FakeStarter()
        threads, spawner = cast(dict[str, DatabaseThread], self.threads), cast(Spawner, self.starter)
        resources = Resources(threads, self.selector, spawner, presence, uuid.uuid4())
        self.parts = Assembly(spec_of(0, 0), None, resources, begin_to_drain=lambda: None)
        self.crash: Any = None
        self.start_workers()
        assert self.pulse() == "send"
        self.answer(beat())

    def start_workers(self) -> None:
        self.parts.pool.turn(time.monotonic())
        self.starter.deliver()
        for worker in self.starter.workers:
            worker.is_ready()
        for key, mask in self.selector.select(0):
            key.data(mask)

    def pulse(self, later: float = 0.0) -> str | None:
        """Turn the lease, ``later`` seconds from now; return the name of the pending call."""
        self.parts.lease.turn(time.monotonic() + later)
        return self.threads["pulse"].pending_call

    def answer(self, result: Any) -> None:
        self.threads["pulse"].answer(result)

    def claims(self) -> Callable[..., None]:
        """Send a claim; return a function that answers it with tasks."""
        now = time.monotonic()
        self.parts.promoter.turn(now)
        if self.threads["chores"].calls:
            self.threads["chores"].answer(NOTHING_DUE)
        self.parts.claimer.turn(now)
        thread = self.threads["claim"]
        assert thread.pending_call == "claim"
        token = thread.call.token
        return lambda *ids: thread.answer([task_row(task_id, token=token) for task_id in ids])

    def counts_a_crash(self, task_id: int) -> Callable[[], None]:
        """Send a crash to be counted; return a function that answers that it was counted."""
        self.parts.intake.on_exited(task_row(task_id), [], lost=None)
        self.parts.settler.turn(time.monotonic())
        thread = self.threads["settle"]
        [[(_, self.crash)]] = [part.entries for part in thread.call.keywords["parts"]]
        return lambda: thread.answer([ALL_WRITTEN])

    def loses_its_row(self) -> None:
        """Learn that another manager has removed the row, and ask to be registered again."""
        self.parts.lease.heartbeat_soon()
        assert self.pulse() == "send"
        self.answer(beat(is_alive=False))
        assert self.pulse() == "renew"

    def finds(self, row: TaskRow) -> None:
        """Answer every question with the task being ours, until it is claimed again."""
        claims = self.threads["claim"]
        for _ in range(10):
            if self.pulse() == "send":
                self.answer(beat())
            self.parts.reconciliation.turn(time.monotonic())
            if claims.pending_call == "claim_again":
                claims.answer([task_row(row[ID], token=claims.call.keywords["token"])])
                return
            if claims.calls:
                claims.answer([(row[ID], row[TOKEN])])
        raise AssertionError("it does not claim it again")

    def buffered(self) -> list[int]:
        return [row[ID] for row in self.parts.intake.buffer.rows()]

    def close(self) -> None:
        for worker in self.starter.workers:
            worker.close()
        self.selector.close()


def beat(is_alive: bool = True) -> Answer:
    return Answer(HeartbeatResult(is_alive, 0, False, False, []))


@pytest.fixture
def harness(presence: PresenceFile) -> Iterator[Harness]:
    made = Harness(presence)
    yield made
    made.close()


def test_a_claim_that_is_answered_before_the_renewal_is_is_not_trusted(harness):
    answer_claim = harness.claims()
    harness.loses_its_row()

    answer_claim(8)  # another manager has rescued it
    harness.answer(set())

    assert harness.parts.lease.is_held
    assert harness.buffered() == []


def test_a_crash_that_is_answered_before_the_renewal_is_is_not_trusted(harness):
    answer_crash = harness.counts_a_crash(7)
    harness.loses_its_row()

    answer_crash()
    harness.answer(set())

    assert harness.parts.lease.is_held
    assert harness.buffered() == []


def test_what_begins_between_renewal_and_its_answer_is_not_trusted_either(harness):
    harness.loses_its_row()
    answer_crash = harness.counts_a_crash(7)

    harness.answer(set())
    answer_crash()

    assert harness.buffered() == []


def test_a_crash_whose_answer_is_not_trusted_is_told_as_the_death_of_a_worker(
    harness: Harness, recorded_events: RecordedEvents
) -> None:
    answer_crash = harness.counts_a_crash(7)
    harness.loses_its_row()
    harness.answer({7})
    answer_crash()

    harness.finds(task_row(7, token=harness.crash.new_token))

    [rescued] = recorded_events.of(TaskRescued)
    assert (rescued.task.id, rescued.reason, rescued.previous_manager) == (7, REASON_WORKER_LOST, None)
    assert harness.buffered() == [7]
