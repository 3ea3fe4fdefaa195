"""A manager of a paused queue starts no tasks and holds none back; its workers finish running tasks."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test import override_settings
from django.utils.timezone import now

from django_partisan import registry
from django_partisan.engine.manager.run_until import Until
from django_partisan.models import ManagerLease, Pause
from django_partisan.pausing import pause, resume
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql import leasing
from django_partisan.sql.connection import execute, open_connection
from django_partisan.telemetry.events.operators import QueuePaused, QueueResumed
from django_partisan.telemetry.events.queues import TasksReleased
from django_partisan.telemetry.events.runs import TaskStarted
from django_partisan.telemetry.events.tasks import TaskRescued
from tests.db.engine.manager_harness import Gate, ManagerHarness
from tests.support.database import is_asleep
from tests.support.events import RecordedEvents
from tests.support.rows import claimed, columns, insert, insert_many, number_of, register_manager, statuses_of
from tests.support.waiting import PATIENCE_SECONDS, wait_until

# A worker closes all subscribers of its process when it ends: only those of the test may exist.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers", "gate")]


@pytest.fixture
def gate(open_harness: object) -> Iterator[Gate]:
    made = Gate()
    for name, run in {"Letter": lambda self: None, "Wait": lambda self: made.wait()}.items():
        registry.register(type(name, (BaseTaskProcessor,), {"run": run}))
    yield made
    made.open.set()


def is_paused(harness: ManagerHarness) -> bool:
    return harness.manager._parts.pause.is_on


def test_a_pause_is_obeyed_when_it_is_notified_and_so_is_its_end(
    open_harness, recorded_events: RecordedEvents
):
    harness = open_harness(lease_seconds=3000)
    harness.turn_until(is_asleep)

    pause("default", comment="maintenance", by="ada")
    harness.turn_until(lambda: is_paused(harness) and not is_asleep())
    ids = insert_many(3)
    harness.turn_until(lambda: recorded_events.of(QueuePaused))
    paused_seconds = harness.snapshot().paused_seconds
    assert statuses_of(*ids) == ["new"] * 3
    resume("default")
    harness.turn_until(lambda: statuses_of(*ids) == ["finished"] * 3)

    assert recorded_events.of(QueuePaused) == [QueuePaused("default", None, "maintenance", "ada")]
    [resumed] = recorded_events.of(QueueResumed)
    assert paused_seconds is not None
    assert 0 <= paused_seconds < resumed.seconds
    assert harness.snapshot().paused_seconds is None


def test_nothing_wakes_a_manager_whose_queue_is_paused(open_harness):
    harness = open_harness(lease_seconds=3000)
    pause("default")
    harness.turn_until(lambda: is_paused(harness))
    harness.turn_until(lambda: not harness.manager._threads["pulse"].is_busy)
    claims = harness.manager._parts.claimer._claims

    insert_many(3)
    harness.manager._on_notified({"default"})
    for _ in range(20):
        harness.manager.turn(0.02)

    assert not is_asleep()
    assert not harness.manager._threads["claim"].is_busy
    assert harness.manager._parts.claimer._claims == claims


def test_of_what_a_worker_holds_only_the_run_goes_on_and_the_rest_is_released(
    open_harness, gate: Gate, recorded_events: RecordedEvents
):
    harness = open_harness(lease_seconds=3000)
    runs = insert_many(1, "Wait", priority=1)
    waits = insert_many(30)
    harness.turn_until(gate.begun.is_set)
    harness.turn_until(lambda: number_of("in_process") > 5)

    pause("default")
    harness.turn_until(lambda: number_of("in_process") == 1 and number_of("new") == 30)
    gate.open.set()
    harness.turn_until(lambda: statuses_of(*runs) == ["finished"])

    assert {event.reason for event in recorded_events.of(TasksReleased)} == {"paused"}
    assert statuses_of(*waits) == ["new"] * 30
    assert columns(waits[0], "attempts", "crashes", "claimed_by") == (0, 0, None)
    assert harness.snapshot().buffered == 0
    harness.turn_until(lambda: harness.manager._parts.pauses.next_at() == float("inf"))


def test_what_a_claim_under_way_brings_is_released(open_harness, recorded_events: RecordedEvents):
    harness = open_harness(lease_seconds=3000)
    harness.turn_until(is_asleep)
    claims = harness.manager._threads["claim"]
    with closing(open_connection("another")) as other:
        other.set_autocommit(False)
        execute(other, "LOCK TABLE django_partisan_task IN SHARE ROW EXCLUSIVE MODE")
        harness.turn_until(lambda: claims.is_standing_by)
        harness.manager._on_notified({"default"})
        harness.turn_until(lambda: claims.is_busy)
        pause("default")
        harness.turn_until(lambda: is_paused(harness))
        execute(
            other,
            "INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class,"
            " priority, execute_after, ready, arguments, extra) SELECT 'new', 'default', now(), now(),"
            " 'Letter', 1, now(), true, '{}', '{}' FROM generate_series(1, 3)",
        )
        other.commit()

    harness.turn_until(lambda: not claims.is_busy)
    harness.turn_until(lambda: recorded_events.of(TasksReleased) and number_of("new") == 3)

    assert recorded_events.of(TaskStarted) == []


def test_a_manager_that_starts_obeys_a_pause_before_its_first_claim(
    open_harness, recorded_events: RecordedEvents
):
    ids = insert_many(3)
    pause("default")

    harness = open_harness(sleep_delay_seconds=0.05)
    harness.turn_until(lambda: recorded_events.of(QueuePaused))
    harness.turn_until(lambda: harness.snapshot().last_claim_at)

    assert not harness.manager._threads["claim"].is_busy
    assert harness.manager._parts.claimer._claims == 0
    assert statuses_of(*ids) == ["new"] * 3


@pytest.mark.parametrize("has_begun", [True, False])
def test_rescued_tasks_wait_until_the_queue_is_resumed(
    open_harness, recorded_events: RecordedEvents, has_begun: bool
):
    dead = register_manager(lock_name=uuid4())
    [row] = claimed(manager=dead)
    if has_begun:
        execute(connection, "UPDATE django_partisan_task SET started_at = now()")
    ManagerLease.objects.filter(pk=dead).update(heartbeat_at=now() - timedelta(hours=1))
    pause("default")

    harness = open_harness(lease_seconds=3)
    harness.turn_until(lambda: recorded_events.of(TaskRescued))
    harness.turn_until(lambda: number_of("new") == 1)
    assert recorded_events.of(TaskStarted) == []
    assert columns(row[0], "crashes", "attempts") == ((1, 1) if has_begun else (0, 0))
    resume("default")

    harness.turn_until(lambda: statuses_of(row[0]) == ["finished"])


def test_without_notifications_a_heartbeat_finds_the_pause_and_its_end(open_harness):
    harness = open_harness(listen=False, lease_seconds=3, sleep_delay_seconds=0.05)
    harness.turn_until(lambda: harness.is_quiet)

    pause("default")
    harness.turn_until(lambda: is_paused(harness))
    [task_id] = insert_many(1)
    resume("default")

    harness.turn_until(lambda: statuses_of(task_id) == ["finished"])


def test_a_pause_ends_by_itself_when_its_time_has_come(open_harness, recorded_events: RecordedEvents):
    harness = open_harness(lease_seconds=3000)
    pause("default", until=timedelta(seconds=1))
    harness.turn_until(lambda: recorded_events.of(QueuePaused))
    [task_id] = insert_many(1)

    harness.turn_until(lambda: statuses_of(task_id) == ["finished"])

    [resumed] = recorded_events.of(QueueResumed)
    assert 1.0 <= resumed.seconds < 2.0 + PATIENCE_SECONDS
    [paused] = recorded_events.of(QueuePaused)
    assert paused.until is not None
    assert Pause.objects.exists()


def test_a_pause_that_is_changed_is_emitted_again_and_one_that_is_seen_again_is_not(
    open_harness, recorded_events: RecordedEvents
):
    harness = open_harness(lease_seconds=3000)
    pause("default")
    harness.turn_until(lambda: recorded_events.of(QueuePaused))

    harness.manager._parts.pauses.read_now()
    harness.turn_until(lambda: not harness.manager._threads["pulse"].is_busy)
    pause("default", comment="it takes longer")
    harness.turn_until(lambda: len(recorded_events.of(QueuePaused)) > 1)

    assert [event.comment for event in recorded_events.of(QueuePaused)] == ["", "it takes longer"]


def test_when_notifications_may_have_been_missed_it_looks(open_harness):
    harness = open_harness(lease_seconds=3000)
    harness.turn_until(lambda: harness.is_quiet)
    Pause.objects.create(queue_name="default")

    harness.manager._on_control(None)

    harness.turn_until(lambda: is_paused(harness))


def test_a_pause_of_another_queue_is_ignored(open_harness):
    with override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}}):
        pause("mail")
    harness = open_harness()

    [task_id] = insert_many(1)
    harness.turn_until(lambda: statuses_of(task_id) == ["finished"])


@pytest.mark.parametrize("until", list(Until))
def test_a_manager_that_ends_by_itself_does_not_wait_for_the_end_of_a_pause(open_harness, until: Until):
    due, scheduled = insert(), insert(execute_after=now() + timedelta(hours=1))
    pause("default")

    harness = open_harness(until)
    harness.turn_until(lambda: harness.manager.is_stopped)

    assert statuses_of(due.pk, scheduled.pk) == ["new", "new"]
    assert harness.manager.failed == 0


@pytest.mark.parametrize("until", list(Until))
def test_a_manager_that_ends_by_itself_finishes_what_runs_when_the_pause_begins(
    open_harness, gate: Gate, until: Until
):
    [runs, waits] = insert_many(2, "Wait")
    harness = open_harness(until)
    harness.turn_until(gate.begun.is_set)
    pause("default")
    harness.turn_until(lambda: statuses_of(waits) == ["new"])
    assert not harness.manager._parts.drain.is_on

    gate.open.set()
    harness.turn_until(lambda: harness.manager.is_stopped)

    assert statuses_of(runs, waits) == ["finished", "new"]


def test_a_manager_that_drains_obeys_no_pause_any_more(open_harness, gate: Gate):
    insert_many(1, "Wait")
    harness = open_harness(lease_seconds=3000)
    harness.turn_until(gate.begun.is_set)
    harness.manager._parts.drain.request()

    pause("default")
    heartbeats = harness.sent("pulse", leasing._HEARTBEAT)
    harness.manager._on_control(None)
    harness.turn_until(lambda: heartbeats and not harness.manager._threads["pulse"].is_busy)

    assert not is_paused(harness)


def test_promotion_goes_on_while_a_queue_is_paused(open_harness):
    pause("default")
    harness = open_harness(sleep_delay_seconds=0.05)
    harness.turn_until(lambda: is_paused(harness))

    task = insert(execute_after=now() + timedelta(seconds=0.2))

    harness.turn_until(lambda: columns(task.pk, "ready"))
    wait_until(lambda: statuses_of(task.pk) == ["new"])
