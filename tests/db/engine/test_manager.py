"""The manager's loop with real lines and a real table; its workers are threads of this process."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, connection

from django_partisan import __version__, registry
from django_partisan.engine.manager import manager as managing
from django_partisan.engine.manager.manager import (
    EXIT_FORCED,
    EXIT_OK,
    EXIT_TASK_FAILED,
    Manager,
)
from django_partisan.exceptions import PostponeTask
from django_partisan.models import ManagerLease, Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql import leasing
from django_partisan.sql.claiming import claim
from django_partisan.sql.connection import execute
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    ClaimFailed,
    DatabaseRestored,
    LeaseLost,
    ManagerDraining,
    ManagerStarted,
    ManagerStopped,
    TaskRescued,
    TasksReleased,
)
from tests.db.engine.office import Office, ThreadStarter
from tests.support.rows import insert_many as enqueue
from tests.support.rows import statuses_of as statuses
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


class Letter(BaseTaskProcessor):
    def run(self) -> None:
        pass


class Bill(BaseTaskProcessor):
    def run(self) -> None:
        raise ValueError("unpaid")


class Gate:
    """Where a task waits until the test lets it go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def wait(self) -> None:
        self.begun.set()
        assert self.open.wait(PATIENCE_SECONDS)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()

    class Wait(BaseTaskProcessor):
        def run(self) -> None:
            made.wait()

    registry.register(Wait)
    yield made
    made.open.set()


@pytest.fixture
def open_office(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> Iterator[Callable[..., Office]]:
    """Make managers that are closed after the test; arguments as of ``Office``."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(managing, "Spawner", ThreadStarter)
    monkeypatch.setattr(bus, "close", lambda timeout: None)  # who watches this process goes on
    registry.register(Letter)
    registry.register(Bill)
    made: list[Office] = []

    def make(finished: Callable[[Manager], bool] | None = None, **settings: object) -> Office:
        made.append(Office(finished, **settings))
        return made[-1]

    yield make
    gate.open.set()
    for office in made:
        office.close()


def is_idle(manager: Manager) -> bool:
    return manager.is_idle


def test_it_runs_what_is_due_and_ends_when_nothing_is_left(open_office, heard):
    ids = enqueue(25)
    office = open_office(is_idle, max_queue_size=5)

    assert office.manager.run(lambda snapshot: f"{snapshot().queue} is served") == EXIT_OK
    assert statuses(*ids) == ["finished"] * 25
    assert heard.of(ManagerStarted) == [ManagerStarted("default", 1, __version__, "default is served")]
    assert len(heard.of(ManagerDraining)) == 1
    [stopped] = heard.of(ManagerStopped)
    assert (stopped.released, stopped.unfinished) == (0, ())
    assert stopped.seconds > 0
    assert not ManagerLease.objects.exists()
    assert not office.path.exists()
    assert office.manager.has_ended.is_set()


def test_it_ends_with_another_code_if_a_task_failed_for_good(open_office):
    [failed, done] = [*enqueue(1, "Bill"), *enqueue(1)]

    assert open_office(is_idle, listen=False).manager.run() == EXIT_TASK_FAILED
    assert statuses(failed, done) == ["error", "finished"]


def test_it_waits_for_a_task_that_was_postponed_by_nothing(open_office):
    class Twice(BaseTaskProcessor):
        def run(self) -> None:
            if not self.task.postpones:
                raise PostponeTask(0)

    registry.register(Twice)
    ids = enqueue(1, "Twice")

    assert open_office(is_idle).manager.run() == EXIT_OK
    assert statuses(*ids) == ["finished"]
    assert Task.objects.get().postpones == 1


def test_asked_to_stop_it_finishes_what_runs_and_gives_back_the_rest(open_office, gate, heard):
    running, *waiting = enqueue(6, "Wait")
    office = open_office()
    office.turn_until(lambda: gate.begun.is_set() and office.manager.custody.buffer)
    office.manager.shutdown.ask("SIGTERM")
    office.manager.turn(0)
    gate.open.set()
    office.turn_until(lambda: office.manager.is_stopped)

    assert statuses(running, *waiting) == ["finished", *["new"] * 5]
    assert heard.of(ManagerDraining) == [ManagerDraining("default", "SIGTERM", 1)]
    assert sum(event.number for event in heard.of(TasksReleased)) == 5


def test_when_the_time_for_draining_is_up_what_runs_is_ended_and_given_back(open_office, gate, heard):
    ids = enqueue(1, "Wait")
    office = open_office(lambda manager: gate.begun.is_set(), stop_timeout_seconds=0)

    assert office.manager.run() == EXIT_FORCED
    assert statuses(*ids) == ["new"]
    assert Task.objects.get().attempts == 0
    assert [event.reason for event in heard.of(TaskRescued)] == ["stopped"]


def test_a_forced_stop_does_not_wait_for_a_database_that_is_away(open_office, gate, heard):
    def is_away(manager: Manager) -> bool:
        if gate.begun.is_set() and not gate.open.is_set():
            settle_line = manager._lines[1]
            settle_line._connection.settings_dict["PORT"] = "1"
            gate.open.set()
        return not manager.settler.reachable

    ids = enqueue(1, "Wait")
    office = open_office(is_away, stop_timeout_seconds=0)

    assert office.manager.run() == EXIT_FORCED
    assert heard.of(ManagerStopped)[0].unfinished == tuple(ids)
    assert statuses(*ids) == ["in_process"]


def test_a_sleeping_manager_is_woken_by_a_new_task(open_office):
    enqueued: list[Task] = []

    def finished(manager: Manager) -> bool:
        if not enqueued and ManagerLease.objects.filter(sleeping=True).exists() and manager.is_idle:
            enqueued.append(Letter(1).delay())
        return bool(enqueued) and statuses(enqueued[0].pk) == ["finished"]

    assert open_office(finished, sleep_delay_seconds=3600).manager.run() == EXIT_OK


def test_a_notification_for_another_queue_wakes_nobody(open_office):
    office = open_office()
    office.turn_until(lambda: office.manager.is_idle)
    office.manager._on_notified({"mail"})

    assert office.manager.is_idle
    office.manager._on_notified({"default"})
    assert not office.manager.is_idle


def test_when_notifications_may_be_missed_it_looks_and_listens_again_at_once(open_office):
    office = open_office()
    office.turn_until(lambda: office.manager.is_idle and not office.manager._pulse_line.busy)
    office.manager._on_notified(None)

    assert not office.manager.is_idle
    assert office.manager.lease.next_at() == 0.0


def test_before_its_row_stands_it_claims_nothing_and_does_not_spin(open_office):
    office = open_office()
    manager = office.manager
    manager.turn(0)

    assert not manager.lease.is_ready
    assert not manager.claimer.busy
    assert manager._next_at() == float("inf")


def test_tasks_of_a_claim_whose_answer_was_lost_are_found_and_run(open_office, heard):
    office = open_office()
    manager = office.manager
    office.turn_until(lambda: manager.is_idle)
    ids = enqueue(2)
    assert len(claim(connection, "default", manager.lease.id, 2)) == 2
    execute(
        connection,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'django_partisan claim default'",
    )
    manager.claimer.notified()
    office.turn_until(lambda: statuses(*ids) == ["finished", "finished"])
    manager.claimer.notified()
    office.turn_until(lambda: heard.of(DatabaseRestored))

    assert len(heard.of(ClaimFailed)) == 1
    assert manager.claimer.reachable


def test_in_doubt_it_waits_for_a_claim_under_way_before_it_looks_for_what_is_unknown(open_office):
    office = open_office()
    manager = office.manager
    office.turn_until(lambda: manager.is_idle and not manager._pulse_line.busy)
    manager._lines[0].submit(lambda connection: None, lambda result: None)
    manager._doubt()
    manager._look_for_unheard()

    assert not manager._pulse_line.busy
    assert not manager.is_idle
    office.turn_until(lambda: manager.is_idle)


def _away(*_: object) -> None:
    raise OperationalError("the server closed the connection")


def test_claims_that_wait_for_a_database_that_does_not_answer_are_told_as_failing(
    open_office, heard, monkeypatch
):
    office = open_office()
    manager = office.manager
    office.turn_until(lambda: manager.is_idle and not manager._pulse_line.busy)
    with monkeypatch.context() as patched:
        patched.setattr(leasing, "unheard", _away)
        manager._doubt()
        office.turn_until(lambda: heard.of(ClaimFailed))
        assert not manager.claimer.reachable
    office.turn_until(lambda: heard.of(DatabaseRestored))

    assert manager.claimer.reachable
    assert len(heard.of(ClaimFailed)) == 1


def test_claims_that_wait_for_the_first_heartbeat_are_told_as_failing(open_office, heard, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(leasing, "beat", _away)
        office = open_office()
        office.turn_until(lambda: heard.of(ClaimFailed))
    office.turn_until(lambda: heard.of(DatabaseRestored))

    assert office.manager.claimer.reachable


def test_a_heartbeat_whose_answer_alone_was_lost_is_no_outage(open_office, heard, monkeypatch):
    office = open_office()
    manager = office.manager
    office.turn_until(lambda: manager.is_idle and not manager._pulse_line.busy)
    with monkeypatch.context() as patched:
        patched.setattr(leasing, "beat", _away)
        manager.lease.beat_soon()
        office.turn_until(lambda: manager._in_doubt)
    office.turn_until(lambda: manager.is_idle)

    assert heard.of(ClaimFailed) == []
    assert manager.claimer.reachable


def test_after_its_lease_was_lost_it_goes_on_under_a_new_identity(open_office, gate, heard):
    office = open_office()
    manager = office.manager
    kept = enqueue(2, "Wait")
    office.turn_until(gate.begun.is_set)
    before = manager.lease.id
    ManagerLease.objects.all().delete()
    manager.lease.beat_soon()
    office.turn_until(lambda: heard.of(LeaseLost) and manager.lease.is_ready)
    gate.open.set()
    ids = [*kept, *enqueue(3)]
    manager.claimer.notified()
    office.turn_until(lambda: statuses(*ids) == ["finished"] * 5)

    assert manager.lease.id != before
    assert heard.of(LeaseLost)[0].held == 2


def test_if_nothing_can_be_served_nothing_is_started(open_office, heard):
    def refuse(snapshot: object) -> str:
        raise RuntimeError("the port is taken")

    office = open_office()
    with pytest.raises(RuntimeError, match="taken"):
        office.manager.run(refuse)

    assert office.manager.has_ended.is_set()
    assert heard.of(ManagerStarted) == []
    assert not office.path.exists()


class Fault(Exception):
    pass


def test_a_fault_of_ours_ends_the_workers_and_leaves_the_file_that_proves_it(open_office, gate):
    def fail(manager: Manager) -> bool:
        if gate.begun.is_set():
            raise Fault
        return False

    ids = enqueue(1, "Wait")
    office = open_office(fail)
    with pytest.raises(Fault):
        office.manager.run()

    assert all(worker.killed for worker in office.manager.pool.workers)
    assert office.path.exists()
    assert statuses(*ids) == ["in_process"]


def test_a_database_that_does_not_answer_does_not_keep_the_manager_from_ending(
    open_office, gate, monkeypatch
):
    monkeypatch.setattr(managing, "CLOSE_SECONDS", 0.05)

    def fail(manager: Manager) -> bool:
        manager._lines[1].submit(lambda connection: gate.wait(), lambda result: None)
        raise Fault

    office = open_office(fail)
    with pytest.raises(Fault):
        office.manager.run()

    settle_line = office.manager._lines[1]
    assert settle_line._thread.is_alive()
    gate.open.set()
    assert settle_line.close(PATIENCE_SECONDS)
    office.manager.wakeup.close()
