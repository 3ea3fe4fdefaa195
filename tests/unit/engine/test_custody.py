"""Custody: a task that is ours is in one place at a time, and gets lost in none."""

import time
from collections.abc import Iterator

import pytest

from django_partisan.engine.manager.chunking import SILENT_SECONDS, STALE_SECONDS
from django_partisan.engine.manager.dispatcher import NEVER, Custody
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.shutdown import Shutdown
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import Message, Returned, RunTasks
from django_partisan.sql.claiming import ID
from django_partisan.sql.leasing import Orphan
from django_partisan.sql.settling import STATUS_NEW, RowChange
from django_partisan.telemetry.events import TaskClaimLost, TaskRescued
from tests.support.engine import FakeWorker, report
from tests.support.engine import PoolHarness as Staged
from tests.support.engine import SettlerHarness as Ledger
from tests.support.engine import config_of as config
from tests.support.events import RecordedEvents as Heard
from tests.support.rows import task_row as row

TINY = {"Letter": (1000, 0.001)}
"""What a worker reports of runs that took no time."""


class Scene:
    """The custody of a manager with two workers, which the test plays."""

    def __init__(self, presence: PresenceFile) -> None:
        self.ledger = Ledger()
        self.shutdown = Shutdown(None)
        settings = config(min_queue_size=2, max_queue_size=10)
        self.custody = Custody(settings, self.ledger.settler, self.shutdown, presence)
        self.staged = Staged(self.custody, presence, slots=2)

    @property
    def pool(self) -> Pool:
        return self.staged.pool

    @property
    def workers(self) -> list[FakeWorker]:
        return self.staged.starter.workers

    def start(self) -> "Scene":
        self.staged.started()
        return self

    def hands_over(self) -> list[list[int]]:
        """Hand over, and return the ids of the tasks that each worker got."""
        self.custody.hand_over(self.pool, time.monotonic())
        return [_ids_in(worker.end.receive_available()) for worker in self.workers]

    def learns_that_tasks_are_tiny(self) -> None:
        self.workers[0].says(report([], measured=TINY))
        self.staged.turn()

    def buffered(self) -> list[int]:
        return [one[ID] for one in self.custody.buffer.rows()]


def _ids_in(messages: list[Message]) -> list[int]:
    return [one[ID] for message in messages if isinstance(message, RunTasks) for one in message.rows]


@pytest.fixture
def scene(presence: PresenceFile) -> Iterator[Scene]:
    made = Scene(presence)
    yield made
    made.staged.close()


@pytest.fixture
def lost(scene: Scene) -> Scene:
    """A manager that lost its lease while worker 0 ran task 1; task 2 stayed ours."""
    scene.start()
    scene.custody.on_claimed([row(1), row(2)])
    assert scene.hands_over() == [[1], [2]]
    scene.custody.on_claimed([row(3)])
    assert scene.custody.on_kept(scene.pool, {2}) == 3
    return scene


def test_nothing_is_claimed_while_no_worker_is_ready(scene: Scene):
    assert scene.custody.room(scene.pool) == 0


def test_the_buffer_is_filled_up_when_it_runs_low(scene: Scene):
    scene.start()
    assert scene.custody.room(scene.pool) == 10

    scene.custody.on_claimed([row(task_id) for task_id in range(4)])
    assert scene.custody.room(scene.pool) == 0
    scene.hands_over()
    assert len(scene.custody.buffer) == 2
    assert scene.custody.room(scene.pool) == 8


def test_tasks_that_wait_at_a_worker_count_as_not_begun(scene: Scene):
    scene.start()
    scene.pool.hand_over(scene.workers[0].seen, [row(task_id) for task_id in range(1, 7)], {})
    scene.pool.hand_over(scene.workers[1].seen, [row(9)], {})

    assert scene.custody.room(scene.pool) == 0


def test_an_idle_worker_is_always_fed(scene: Scene):
    scene.start()
    scene.pool.hand_over(scene.workers[0].seen, [row(task_id) for task_id in range(1, 20)], {})

    assert scene.custody.room(scene.pool) == 1


def test_claims_tell_workers_when_they_came(scene: Scene):
    scene.start()
    before = time.monotonic()
    scene.custody.on_claimed([row(1, token=5)])

    scene.custody.hand_over(scene.pool, before)

    [message] = scene.workers[0].end.receive()
    assert isinstance(message, RunTasks)
    assert message.rows == [row(1, token=5)]
    assert before <= message.claim_times[5] <= time.monotonic()


def test_an_outcome_goes_to_the_settler_and_the_task_leaves_its_worker(scene: Scene, heard: Heard):
    scene.start()
    scene.learns_that_tasks_are_tiny()
    scene.custody.on_claimed([row(task_id) for task_id in range(1, 9)])
    assert scene.hands_over() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    postponed = RowChange(2, 1, STATUS_NEW, 5.0, postpones=1)

    scene.workers[0].says(
        report([1, 99], changes=[tuple(postponed)], claims_lost=[3], settled=[4], telemetry=[("recorded", 7)])
    )
    scene.staged.turn()

    batch = scene.ledger.written()
    assert (batch.completed, batch.changes) == ([row(1)], [(row(2), postponed)])
    assert [one[ID] for one in scene.pool.held()] == [5, 6, 7, 8]
    assert [event.task.id for event in heard.of(TaskClaimLost)] == [3]
    assert heard.absorbed == [(0, 7)]
    assert sorted(scene.custody.known_ids(scene.pool)) == [1, 2, 5, 6, 7, 8]


def test_a_worker_that_is_stuck_gives_its_rest_to_an_idle_one(scene: Scene):
    scene.start()
    stuck = scene.workers[0].seen
    scene.pool.hand_over(stuck, [row(1), row(2)], {})

    scene.custody.hand_over(scene.pool, stuck.heard_at)
    assert scene.custody.next_at() == stuck.heard_at + STALE_SECONDS
    scene.custody.hand_over(scene.pool, stuck.heard_at + STALE_SECONDS)
    assert scene.workers[0].rung()
    assert scene.custody.next_at() == NEVER

    scene.workers[0].says(Returned([2]))
    scene.staged.turn()
    assert scene.hands_over()[1] == [2]


def test_a_stuck_worker_has_more_time_while_no_other_is_idle(scene: Scene):
    scene.start()
    for worker, rows in zip(scene.workers, ([row(1), row(2)], [row(3)]), strict=True):
        scene.pool.hand_over(worker.seen, rows, {})

    scene.custody.hand_over(scene.pool, scene.workers[0].seen.heard_at)

    assert scene.custody.next_at() == scene.workers[0].seen.heard_at + SILENT_SECONDS


def test_nothing_is_handed_over_while_draining(scene: Scene):
    scene.start()
    scene.custody.on_claimed([row(1)])
    scene.shutdown.ask()

    assert scene.hands_over() == [[], []]
    assert scene.custody.next_at() == NEVER


def test_while_draining_what_comes_goes_back_to_the_queue(scene: Scene):
    scene.start()
    scene.pool.hand_over(scene.workers[0].seen, [row(1), row(2)], {})
    scene.shutdown.ask()

    scene.custody.on_claimed([row(3)])
    scene.workers[0].says(Returned([2]))
    scene.staged.turn()

    assert scene.ledger.written().released == [row(3), row(2)]
    assert scene.buffered() == []


def test_what_a_dead_worker_held_comes_back(scene: Scene):
    scene.start()
    scene.pool.hand_over(scene.workers[0].seen, [row(1), row(2), row(3)], {})
    scene.staged.begins(scene.workers[0], 2)
    scene.workers[0].exits(-11)

    scene.staged.turn()

    assert scene.buffered() == [2, 1, 3]
    assert scene.ledger.settler.ids() == [2]


def test_what_a_dead_manager_held_runs_next(scene: Scene, heard: Heard):
    scene.start()
    scene.custody.on_claimed([row(1)])

    scene.custody.on_rescued([Orphan(None, row(2))])

    assert scene.buffered() == [2, 1]
    assert [event.task.id for event in heard.of(TaskRescued)] == [2]


def test_with_a_lost_lease_what_others_took_over_is_dropped_from_the_buffer(lost: Scene):
    assert lost.buffered() == []
    assert lost.workers[0].rung()
    assert not lost.workers[1].rung()


def test_a_task_that_still_runs_here_does_not_run_again_until_that_run_has_ended(lost: Scene):
    again = row(1, token=2)

    lost.custody.on_claimed([again, row(4)])
    assert lost.buffered() == [4]
    assert sorted(lost.custody.known_ids(lost.pool)) == [1, 2, 4]
    lost.workers[0].says(report([1]))
    lost.staged.turn()

    assert lost.custody.buffer.rows() == [again, row(4)]
    assert lost.ledger.written().completed == [row(1)]


def test_tasks_that_waited_for_strays_run_by_priority(scene: Scene):
    scene.start()
    scene.pool.hand_over(scene.workers[0].seen, [row(1), row(2), row(3)], {})
    scene.custody.on_kept(scene.pool, set())
    scene.custody.on_claimed([row(3, priority=1), row(2, priority=2), row(1, priority=3), row(4, priority=4)])

    scene.workers[0].says(report([1, 2, 3]))
    scene.staged.turn()

    assert scene.buffered() == [3, 2, 1, 4]


def test_a_rescued_task_that_still_runs_here_waits_too(lost: Scene):
    lost.custody.on_rescued([Orphan(None, row(1, token=2)), Orphan(None, row(5))])
    assert lost.buffered() == [5]

    lost.workers[0].says(Returned([1]))
    lost.staged.turn()

    assert lost.buffered() == [5, 1]


def test_a_stray_whose_worker_dies_is_nobodys_crash(lost: Scene, heard: Heard):
    lost.custody.on_claimed([row(1, token=2)])
    lost.staged.begins(lost.workers[0], 1)
    lost.workers[0].exits(-9)

    lost.staged.turn()

    assert lost.custody.buffer.rows() == [row(1, token=2)]
    assert heard.of(TaskRescued) == []
    assert lost.ledger.settler.ids() == []


def test_while_draining_what_waited_for_a_stray_goes_back_to_the_queue(lost: Scene):
    lost.custody.on_claimed([row(1, token=2)])
    lost.shutdown.ask()

    lost.workers[0].says(report([1]))
    lost.staged.turn()

    assert lost.ledger.written().released == [row(1, token=2)]
