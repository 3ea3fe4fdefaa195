"""The manager's loop with real database threads and a real table; its workers are threads of this process."""

import gc
import time
from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_partisan import __version__, registry
from django_partisan.engine.manager.claim_events import ClaimEvents
from django_partisan.engine.manager.claimer import Claimer
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.connection_watch import ConnectionWatch
from django_partisan.engine.manager.dispatcher import Dispatcher
from django_partisan.engine.manager.manager import (
    CONNECTIONS,
    EXIT_FORCED,
    EXIT_OK,
    EXIT_TASK_FAILED,
    Manager,
)
from django_partisan.engine.manager.reconciliation import Reconciliation
from django_partisan.engine.manager.run_until import Until
from django_partisan.exceptions import PostponeTask
from django_partisan.models import ManagerLease
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql import claiming, leasing
from django_partisan.telemetry.events.managers import (
    DatabaseRestored,
    LeaseLost,
    ManagerDraining,
    ManagerStarted,
    ManagerStopped,
)
from django_partisan.telemetry.events.queues import ClaimErrored, ClaimFailed, TasksReleased
from django_partisan.telemetry.events.snapshot import QueueLimits
from tests.db.engine.manager_harness import Gate, ManagerHarness
from tests.support.events import RecordedEvents
from tests.support.rows import claim, columns, insert_many, statuses_of
from tests.support.waiting import PATIENCE_SECONDS, wait_until

# A worker closes all subscribers of its process when it ends: only those of the test may exist.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers", "gate")]


class Twice(BaseTaskProcessor):
    def run(self) -> None:
        if not self.task.postpones:
            raise PostponeTask(0)


class Fault(Exception):
    pass


class Faulty(Component):
    """A component that fails in its first turn."""

    def turn(self, now: float) -> None:
        raise Fault


@pytest.fixture
def gate(open_harness: object) -> Iterator[Gate]:
    made = Gate()
    runs = {"Letter": lambda self: None, "Bill": lambda self: 1 / 0, "Wait": lambda self: made.wait()}
    for name, run in runs.items():
        registry.register(type(name, (BaseTaskProcessor,), {"run": run}))
    registry.register(Twice)
    yield made
    made.open.set()


@pytest.fixture
def harness(open_harness) -> ManagerHarness:
    """Return a manager that has started and has nothing to do."""
    made: ManagerHarness = open_harness()
    made.turn_until(lambda: made.is_quiet)
    return made


def test_code_that_was_replaced_makes_a_manager_drain_and_never_by_force(open_harness):
    parts = open_harness().manager._parts

    for _ in range(2):
        parts._on_code_replaced()

    assert (parts.drain.is_on, parts.drain.is_forced) == (True, False)


def test_it_runs_what_is_due_and_ends_when_nothing_is_left(open_harness, recorded_events: RecordedEvents):
    ids = insert_many(25)
    harness = open_harness(Until.IDLE, max_queue_size=5)

    assert harness.manager.run(lambda snapshots: f"{snapshots().queue} is served") == EXIT_OK

    assert statuses_of(*ids) == ["finished"] * 25
    started = ManagerStarted("default", 1, __version__, "default is served")
    assert recorded_events.of(ManagerStarted) == [started]
    assert len(recorded_events.of(ManagerDraining)) == 1
    [stopped] = recorded_events.of(ManagerStopped)
    assert (stopped.released, stopped.unfinished) == (0, ())
    assert stopped.seconds > 0
    assert not ManagerLease.objects.exists()
    assert not harness.path.exists()
    assert harness.manager.stop()


def test_it_waits_for_a_task_that_was_postponed_by_nothing_and_ends_with_another_code_if_one_failed(
    open_harness,
):
    ids = [*insert_many(1, "Bill"), *insert_many(1, "Twice"), *insert_many(1)]

    assert open_harness(Until.IDLE, listen=False).manager.run() == EXIT_TASK_FAILED

    assert statuses_of(*ids) == ["error", "finished", "finished"]
    assert columns(ids[1], "postpones") == 1


def test_asked_to_stop_it_finishes_what_runs_and_releases_the_rest(
    open_harness, gate, recorded_events: RecordedEvents
):
    running, *waiting = insert_many(6, "Wait")
    harness = open_harness()
    manager: Manager = harness.manager
    harness.turn_until(gate.begun.is_set)

    assert not manager.stop()
    manager.turn()
    [draining] = recorded_events.of(ManagerDraining)
    snapshot = harness.snapshot()
    assert (draining.signal, draining.in_progress) == (None, 1)
    assert (snapshot.draining, snapshot.database_reachable, snapshot.buffered) == (True, True, 0)
    gate.open.set()
    harness.turn_until(lambda: manager.is_stopped)

    assert statuses_of(running, *waiting) == ["finished", *["new"] * 5]
    assert sum(event.number for event in recorded_events.of(TasksReleased)) == 5


def test_a_forced_stop_does_not_wait_for_a_database_that_is_away(
    open_harness, gate, recorded_events: RecordedEvents
):
    ids = insert_many(1, "Wait")
    harness = open_harness(stop_timeout_seconds=0)
    harness.turn_until(gate.begun.is_set)
    harness.cut_off("settle")
    gate.open.set()
    harness.turn_until(lambda: not harness.snapshot().database_reachable)
    harness.manager.stop()

    assert harness.manager.run() == EXIT_FORCED

    assert recorded_events.of(ManagerStopped)[0].unfinished == tuple(ids)
    assert statuses_of(*ids) == ["in_process"]


@pytest.mark.parametrize("queues", [{"default"}, None], ids=["its queue", "some missed"])
def test_only_a_notification_for_its_queue_or_a_missed_one_makes_it_claim(queues, harness):
    notify = harness.manager._on_notified
    notify({"mail"})
    assert harness.is_quiet

    notify(queues)

    assert not harness.is_quiet
    harness.turn_until(lambda: harness.is_quiet)


def test_a_task_is_claimed_without_a_turn_of_the_loop_while_a_worker_is_idle(harness):
    harness.turn_until(lambda: harness.manager._threads["claim"].is_standing_by)

    ids = insert_many(1)
    wait_until(lambda: statuses_of(*ids) == ["in_process"])

    harness.turn_until(lambda: statuses_of(*ids) == ["finished"])


def test_after_missed_controls_it_sends_a_heartbeat_which_listens_again(harness):
    assert harness.manager._parts.lease.next_at() > time.monotonic()

    harness.manager._on_control(None)

    assert harness.manager._parts.lease.next_at() == 0.0


@pytest.mark.parametrize("is_late", [False, True])
def test_tasks_of_a_claim_whose_answer_was_lost_are_found_and_run_also_if_it_is_committed_late(
    is_late, harness
):
    parts, lease = harness.manager._parts, harness.manager._parts.lease
    token = parts.tokens.draw()

    def lose() -> None:
        parts.tokens.failed(token)
        if is_late:
            harness.turn_until(lambda: parts.reconciliation.is_idle)

    if is_late:
        lose()
    with transaction.atomic():  # otherwise the manager would be notified and claim them itself
        ids = insert_many(2)
        assert len(claiming.claim(connection, "default", lease.id, token, 2)) == 2
    if not is_late:
        lose()

    lease.heartbeat_soon()
    harness.turn_until(lambda: statuses_of(*ids) == ["finished", "finished"])


def test_tasks_that_are_ours_by_the_table_alone_are_found_by_the_second_heartbeat(harness):
    with transaction.atomic():
        ids = insert_many(2)
        assert len(claim(connection, "default", harness.manager._parts.lease.id, 2)) == 2

    heartbeats = harness.sent("pulse", leasing._HEARTBEAT)
    for number in (1, 2):
        harness.manager._parts.lease.heartbeat_soon()
        harness.turn_until(lambda: len(heartbeats) >= number and harness.is_quiet)  # noqa: B023

    harness.turn_until(lambda: statuses_of(*ids) == ["finished", "finished"])


def test_a_claim_that_is_refused_is_told_once_and_tried_again(harness, recorded_events: RecordedEvents):
    harness.cut_off("claim")
    harness.turn_until(lambda: recorded_events.of(ClaimFailed))
    ids = insert_many(2)
    harness.reconnect("claim")

    harness.turn_until(lambda: statuses_of(*ids) == ["finished", "finished"])
    harness.turn_until(lambda: recorded_events.of(DatabaseRestored))

    assert len(recorded_events.of(ClaimFailed)) == 1


def test_without_answers_to_heartbeats_it_goes_on_until_its_lease_has_expired_and_then_tells(
    open_harness, recorded_events: RecordedEvents
):
    harness = open_harness(sleep_delay_seconds=0.05, lease_seconds=3)
    harness.turn_until(lambda: harness.is_quiet)
    harness.cut_off("pulse")
    before = insert_many(1)
    harness.manager._on_notified({"default"})
    harness.turn_until(lambda: statuses_of(*before) == ["finished"])
    harness.turn_until(lambda: recorded_events.of(ClaimFailed))
    ids = insert_many(1)
    turns, until = 0, time.monotonic() + 1.0
    while time.monotonic() < until:
        harness.manager.turn()
        turns += 1
    assert turns < 100
    assert statuses_of(*ids) == ["new"]
    assert not harness.snapshot().database_reachable

    harness.reconnect("pulse")
    harness.turn_until(lambda: statuses_of(*ids) == ["finished"])

    assert harness.snapshot().database_reachable
    [restored] = recorded_events.of(DatabaseRestored)
    assert len(recorded_events.of(ClaimErrored)) == restored.failures
    assert len(recorded_events.of(ClaimFailed)) == 1


def test_after_its_lease_was_lost_it_goes_on_under_a_new_identity(
    open_harness, gate, recorded_events: RecordedEvents
):
    kept = insert_many(2, "Wait")
    harness = open_harness()
    lease = harness.manager._parts.lease
    harness.turn_until(gate.begun.is_set)
    before = lease.id
    ManagerLease.objects.all().delete()
    lease.heartbeat_soon()
    harness.turn_until(lambda: recorded_events.of(LeaseLost) and lease.is_held)
    gate.open.set()
    ids = [*kept, *insert_many(3)]
    harness.manager._on_notified({"default"})
    harness.turn_until(lambda: statuses_of(*ids) == ["finished"] * 5)

    assert lease.id != before
    assert recorded_events.of(LeaseLost)[0].held == 2


def test_a_snapshot_shows_what_the_manager_holds(open_harness, gate):
    before = time.time()
    ids = insert_many(3, "Wait")
    harness = open_harness(
        max_queue_size=33,
        max_wait_seconds=60,
        max_crashes=5,
        default_timeout_seconds=30,
        interrupt_grace_seconds=7,
    )
    harness.turn_until(gate.begun.is_set)
    harness.turn_until(lambda: harness.snapshot().buffered)

    snapshot = harness.snapshot()

    assert snapshot[:2] == ("default", 1)
    assert [worker.task and worker.task.id for worker in snapshot.workers] == ids[:1]
    assert snapshot[3:8] == (2, 33, 0, False, True)
    assert before <= snapshot.last_claim_at <= snapshot.last_loop_at
    assert snapshot.last_finished_at is None
    assert snapshot.limits == QueueLimits(60, 5, 30, 7)


def test_a_fault_of_ours_ends_the_workers_and_leaves_the_file_that_proves_it(open_harness, gate):
    ids = insert_many(1, "Wait")
    harness = open_harness()
    harness.turn_until(gate.begun.is_set)
    harness.add(Faulty())

    with pytest.raises(Fault):
        harness.manager.run()

    assert all(worker.was_killed for worker in harness.manager._parts.pool.workers)
    assert harness.path.exists()
    assert statuses_of(*ids) == ["in_process"]


def test_a_database_that_does_not_answer_does_not_keep_the_manager_from_ending(open_harness, gate):
    harness = open_harness(close_seconds=0.05)
    harness.add(Faulty())
    thread = harness.manager._threads["settle"]
    thread.submit(lambda connection: gate.wait(), lambda result: None)
    wait_until(gate.begun.is_set)  # otherwise the manager would end before the thread is connected

    with pytest.raises(Fault):
        harness.manager.run()

    assert thread._thread.is_alive()
    gate.open.set()
    assert thread.close(PATIENCE_SECONDS)
    harness.manager._calls.close()


class NewComponent(Component):
    """A component that no other part of the manager refers to."""

    is_idle = False

    def __init__(self) -> None:
        self.turned_at = 0.0
        self.wants_turn_at = NEVER
        self.is_stopped = False

    def turn(self, now: float) -> None:
        self.turned_at = now

    def next_at(self) -> float:
        return self.wants_turn_at if self.wants_turn_at > self.turned_at else NEVER

    def stop(self) -> None:
        self.is_stopped = True


def test_tasks_are_compared_before_more_are_claimed_and_a_claim_is_sent_before_the_dispatch(harness):
    in_order = [ConnectionWatch, Reconciliation, Claimer, Dispatcher, ClaimEvents]

    kinds = [type(component) for component in harness.manager._components]

    assert [kind for kind in kinds if kind in in_order] == in_order


def test_a_component_in_the_managers_list_gets_its_turns_and_holds_up_the_end(harness):
    manager, component = harness.manager, NewComponent()
    harness.add(component)
    manager.turn(longest=0.0)
    assert component.turned_at > 0.0

    component.wants_turn_at = time.monotonic() + 0.2
    while component.turned_at < component.wants_turn_at:
        manager.turn(longest=PATIENCE_SECONDS)
    assert component.turned_at < component.wants_turn_at + 5
    assert not component.is_stopped

    manager.stop()
    harness.turn_until(lambda: [one for one in manager._components if not one.is_idle] == [component])
    manager.turn(longest=0.0)
    assert component.is_stopped
    assert not manager.is_stopped
    component.is_idle = True
    harness.turn_until(lambda: manager.is_stopped)


@override_settings(DEBUG=True)
def test_with_debug_no_connection_gathers_the_queries_of_tasks_that_fail(open_harness):
    insert_many(3, "Bill")
    harness = open_harness(Until.IDLE)

    code = harness.manager.run()

    assert code == EXIT_TASK_FAILED
    wrappers = [one for one in gc.get_objects() if isinstance(one, BaseDatabaseWrapper)]
    ours = [one for one in wrappers if "application_name" in one.settings_dict["OPTIONS"]]
    assert len(ours) >= len(CONNECTIONS)
    assert [one.queries for one in ours if one.queries_log] == []
