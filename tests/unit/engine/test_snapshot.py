"""Snapshots: the manager's state, as its own loop sees it, for any thread that asks."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from django_partisan.engine.manager.dispatcher import Custody
from django_partisan.engine.manager.loop_calls import Wakeup
from django_partisan.engine.manager.shutdown import Shutdown
from django_partisan.engine.manager.snapshot import Snapshots
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import Retiring
from tests.support.engine import NO_PID
from tests.support.engine import PoolHarness as Staged
from tests.support.engine import SettlerHarness as Ledger
from tests.support.engine import config_of as config
from tests.support.rows import task_row as row

if TYPE_CHECKING:
    from django_partisan.engine.manager.manager import Manager


class StandIn(SimpleNamespace):
    """What a snapshot asks of a manager, with the real parts where they are cheap."""

    def __init__(self, presence: PresenceFile) -> None:
        settings, shutdown, ledger = config(workers_count=2, max_queue_size=33), Shutdown(None), Ledger()
        custody = Custody(settings, ledger.settler, shutdown, presence)
        self.staged = Staged(custody, presence, slots=2)
        super().__init__(
            config=settings,
            shutdown=shutdown,
            settler=ledger.settler,
            custody=custody,
            pool=self.staged.pool,
            presence=presence,
            wakeup=Wakeup(),
            claimer=SimpleNamespace(reachable=True, last_claim_at=111.0),
            last_loop_at=222.0,
        )


@pytest.fixture
def manager(presence: PresenceFile) -> Iterator[StandIn]:
    made = StandIn(presence)
    yield made
    made.staged.close()
    made.wakeup.close()


def _asked_while_the_loop_turns(manager: StandIn, snapshots: Snapshots) -> list[object]:
    taken: list[object] = []
    asking = threading.Thread(target=lambda: taken.append(snapshots()))
    asking.start()
    while asking.is_alive():
        manager.wakeup.run_delivered()
        time.sleep(0.001)
    return taken


def test_a_snapshot_shows_the_state_when_it_was_asked_for(manager: StandIn):
    snapshots = Snapshots(cast("Manager", manager))
    manager.custody.buffer.add([row(1), row(2)])
    manager.settler.complete([row(3)])
    manager.shutdown.ask()
    manager.claimer.reachable = False

    [snapshot] = _asked_while_the_loop_turns(manager, snapshots)

    assert snapshot == ("default", 2, (), 2, 33, 1, True, False, 222.0, 111.0, None)


def test_a_loop_that_does_not_answer_is_shown_as_it_last_was(manager: StandIn):
    snapshots = Snapshots(cast("Manager", manager))
    manager.custody.buffer.add([row(1)])

    assert snapshots().buffered == 0
    manager.wakeup.run_delivered()
    assert snapshots().buffered == 1


def test_workers_are_shown_with_what_they_run(manager: StandIn):
    busy, idle = manager.staged.started()
    manager.pool.hand_over(busy.seen, [row(7, attempts=2)], {})
    page = manager.staged.begins(busy, 7)
    page.busy_seconds = 40.0
    page.begin(7, time.monotonic() - 5.0)

    first, second = Snapshots(cast("Manager", manager))().workers

    assert first[:4] == (0, 1, NO_PID, "busy")
    assert first.task is not None
    assert (first.task.id, first.task.attempt) == (7, 3)
    assert 5.0 <= first.run_age_seconds < 60.0
    assert first.busy_seconds == pytest.approx(40.0 + first.run_age_seconds)
    assert second == (1, 2, NO_PID, "idle", None, 0.0, 0.0)
    assert idle.seen.is_idle


def test_a_worker_that_retires_is_not_shown_beside_its_successor(manager: StandIn):
    old, _ = manager.staged.started()
    old.says(Retiring())
    manager.staged.turn()

    workers = Snapshots(cast("Manager", manager))().workers

    assert sorted((worker.slot, worker.generation) for worker in workers) == [(1, 2)]
