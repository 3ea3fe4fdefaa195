"""Rescue: interrupted tasks run again, before all others, unless they kill whoever runs them."""

import uuid

import pytest

from django_partisan.engine.manager.buffer import Buffer
from django_partisan.engine.manager.rescue import Rescue
from django_partisan.engine.manager.shutdown import Shutdown
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, TaskRow
from django_partisan.sql.leasing import Orphan
from django_partisan.sql.settling import STATUS_ERROR, STATUS_IN_PROCESS, STATUS_NEW, RowChange
from django_partisan.telemetry.events import (
    REASON_MANAGER_LOST,
    REASON_STOPPED,
    REASON_WORKER_LOST,
    TaskFailed,
    TaskRescued,
)
from tests.support.engine import SettlerHarness as Ledger
from tests.support.engine import config_of as config
from tests.support.events import RecordedEvents as Heard
from tests.support.rows import task_row as row

MAX_CRASHES = 3


class Scene:
    def __init__(self) -> None:
        self.buffer = Buffer()
        self.buffer.add([row(1, priority=-5)])
        self.ledger = Ledger()
        self.shutdown = Shutdown(None)
        self.rescue = Rescue(config(max_crashes=MAX_CRASHES), self.buffer, self.ledger.settler, self.shutdown)

    def buffered(self) -> list[int]:
        return [one[ID] for one in self.buffer.rows()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_task_whose_worker_died_runs_next_and_counts_a_crash(scene: Scene, heard: Heard):
    begun = row(7, attempts=1, crashes=MAX_CRASHES - 1)

    scene.rescue.from_worker(begun, [row(8), row(3, priority=-9)])

    first = scene.buffer.first()
    assert first is not None
    assert (first[ID], first[ATTEMPTS], first[CRASHES]) == (7, 2, MAX_CRASHES)
    assert scene.buffered() == [7, 3, 1, 8]
    assert scene.ledger.written().changes == [(begun, RowChange(7, 1, STATUS_IN_PROCESS, crashes=1))]
    assert [(event.task.id, *event[1:]) for event in heard.of(TaskRescued)] == [(7, REASON_WORKER_LOST, None)]


def test_a_task_that_killed_too_many_workers_fails(scene: Scene, heard: Heard):
    begun = row(7, crashes=MAX_CRASHES)

    scene.rescue.from_worker(begun, [])

    [(_, outcome)] = scene.ledger.written().changes
    assert (outcome.status, outcome.reason) == (STATUS_ERROR, REASON_WORKER_LOST)
    assert (outcome.attempts, outcome.crashes) == (1, 1)
    assert outcome.error_message == "Letter: its worker died 4 times while it ran."
    [failed] = heard.of(TaskFailed)
    assert failed.run.id == 7
    assert failed.reason == REASON_WORKER_LOST
    assert heard.of(TaskRescued) == []
    assert scene.buffered() == [1]


def test_what_a_dead_worker_had_not_begun_waits_in_its_place(scene: Scene, heard: Heard):
    scene.rescue.from_worker(None, [row(8), row(3, priority=-9)])

    assert scene.buffered() == [3, 1, 8]
    assert len(scene.ledger.written()) == 0
    assert heard.events == []


def test_while_draining_what_a_dead_worker_held_goes_back_to_the_queue(scene: Scene):
    scene.shutdown.ask()

    scene.rescue.from_worker(row(7), [row(8)])

    batch = scene.ledger.written()
    assert batch.changes == [(row(7), RowChange(7, 1, STATUS_NEW, crashes=1))]
    assert batch.released == [row(8)]
    assert scene.buffered() == [1]


@pytest.mark.parametrize("begun", [row(7), None])
def test_a_stop_by_force_gives_all_back_and_counts_nothing(begun: TaskRow | None, scene: Scene, heard: Heard):
    scene.shutdown.ask()
    scene.shutdown.ask()

    scene.rescue.from_worker(begun, [row(8)])

    batch = scene.ledger.written()
    assert batch.changes == []
    assert [one[ID] for one in batch.released] == ([7, 8] if begun else [8])
    assert [event.reason for event in heard.of(TaskRescued)] == ([REASON_STOPPED] if begun else [])


def test_what_a_dead_manager_held_runs_before_all_else(scene: Scene, heard: Heard):
    dead = uuid.uuid4()
    orphans = [Orphan(dead, row(7, crashes=MAX_CRASHES)), Orphan(None, row(6))]

    scene.rescue.from_manager(orphans)

    assert scene.buffered() == [7, 6, 1]
    assert len(scene.ledger.written()) == 0
    assert [(event.task.id, *event[1:]) for event in heard.of(TaskRescued)] == [
        (7, REASON_MANAGER_LOST, str(dead)),
        (6, REASON_MANAGER_LOST, None),
    ]


def test_a_task_that_killed_too_many_managers_fails(scene: Scene, heard: Heard):
    scene.rescue.from_manager([Orphan(None, row(7, crashes=MAX_CRASHES + 1))])

    [(_, outcome)] = scene.ledger.written().changes
    assert (outcome.status, outcome.attempts, outcome.crashes) == (STATUS_ERROR, 0, 0)
    assert outcome.error_message == "Letter: its worker died 4 times while it ran."
    assert scene.ledger.settler.failed == 1
    assert scene.buffered() == [1]


def test_while_draining_what_a_dead_manager_held_goes_back_to_the_queue(scene: Scene):
    scene.shutdown.ask()

    scene.rescue.from_manager([Orphan(None, row(7))])

    assert scene.ledger.written().released == [row(7)]
    assert scene.buffered() == [1]
