"""Tasks whose processor is not registered here are held, and run when a manager has it."""

import time
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from django_partisan import registry
from django_partisan.engine.manager.held_tasks import HeldTasks
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.manager import EXIT_OK
from django_partisan.engine.manager.outage import Outage, SharedOutage
from django_partisan.engine.manager.run_until import Until
from django_partisan.models import ManagerLease, Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql import holding, leasing
from django_partisan.sql.claiming import ID
from django_partisan.telemetry.events.queues import TasksHeld, TasksResumed
from django_partisan.telemetry.events.runs import TaskFailed, TaskStarted
from tests.support.engine import FakeDatabaseThread, config_of
from tests.support.events import RecordedEvents
from tests.support.registry import Idle, empty_registry
from tests.support.rows import claimed, columns, insert_many, register_manager, statuses_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_registry", "no_subscribers"),
]


def register_processors(*names: str) -> None:
    """Register processors that do nothing."""
    for name in names:
        registry.register(type(name, (BaseTaskProcessor,), {"run": lambda self: None}))


def held(*ids: int) -> list[str | None]:
    return [columns(task_id, "held") for task_id in ids]


def test_tasks_of_an_unknown_kind_are_set_aside_as_they_are_and_those_behind_them_run(
    open_harness, recorded_events: RecordedEvents
):
    register_processors("Letter")
    gone, letters = insert_many(25, "Gone"), insert_many(3, "Letter")
    harness = open_harness(max_queue_size=5)

    harness.turn_until(lambda: statuses_of(*letters) == ["finished"] * 3)
    harness.turn_until(lambda: held(*gone) == ["unregistered"] * 25)

    rows = Task.objects.filter(pk__in=gone)
    states = rows.values_list("status", "ready", "attempts", "crashes", "claim_token", "claimed_by")
    assert set(states) == {("new", False, 0, 0, None, None)}
    assert not rows.filter(unregistered_since=None).exists()
    assert {event.run.processor for event in recorded_events.of(TaskStarted)} == {"Letter"}
    assert recorded_events.of(TaskFailed) == []
    emitted = recorded_events.of(TasksHeld)
    assert {(event.processor, event.reason) for event in emitted} == {("Gone", "unregistered")}


def set_aside(*ids: int) -> None:
    Task.objects.filter(pk__in=ids).update(held="unregistered", ready=False, unregistered_since=Now())


def test_a_manager_that_knows_the_processor_resumes_all_at_its_start(
    open_harness, recorded_events: RecordedEvents
):
    register_processors("Gone")
    ids = insert_many(1200, "Gone")
    set_aside(*ids)

    assert open_harness(Until.EMPTY, max_queue_size=500).manager.run() == EXIT_OK

    rows = Task.objects.values_list("status", "attempts", "held", "unregistered_since")
    assert set(rows) == {("finished", 1, None, None)}
    assert recorded_events.of(TasksResumed) == [TasksResumed("default", "Gone", 1200, "unregistered")]


def test_an_idle_manager_looks_once_and_again_only_after_a_heartbeat_that_found_a_task_that_it_can_run(
    open_harness,
):
    register_processors("Letter")
    harness = open_harness(lease_seconds=9)  # long enough for a busy machine to keep the lease
    heartbeats, looks = harness.sent("pulse", leasing._HEARTBEAT), harness.sent("chores", holding._FIND_HELD)
    harness.turn_until(lambda: looks)
    for number in range(len(heartbeats) + 1, len(heartbeats) + 4):
        harness.manager._parts.lease.heartbeat_soon()
        harness.turn_until(lambda: len(heartbeats) >= number)  # noqa: B023
    assert len(looks) == 1

    with transaction.atomic():  # otherwise the manager would be notified before it is set aside
        [pk] = insert_many(1, "Letter")
        set_aside(pk)

    harness.turn_until(lambda: statuses_of(pk) == ["finished"])
    assert len(looks) > 1


def test_one_task_tries_and_the_rest_follows_if_a_worker_knows_it_though_the_manager_did_not(
    open_harness, recorded_events: RecordedEvents
):
    ids = insert_many(5, "Late")
    set_aside(*ids)
    harness = open_harness()
    register_processors("Late")

    harness.turn_until(lambda: statuses_of(*ids) == ["finished"] * 5)

    assert recorded_events.of(TasksResumed) == [TasksResumed("default", "Late", 4, "unregistered")]
    assert published() == [["Late"]]


def test_a_task_that_tries_in_vain_is_set_aside_again_as_before_and_is_not_told(
    open_harness, recorded_events: RecordedEvents
):
    ids = insert_many(3, "Gone")
    set_aside(*ids)
    before = list(Task.objects.order_by("id").values_list("unregistered_since", "attempts", "execute_after"))
    harness = open_harness()

    tried = Task.objects.exclude(claimed_at=None)
    harness.turn_until(lambda: tried.filter(held="unregistered").exists())

    assert tried.count() == 1
    harness.turn_until(lambda: harness.is_quiet)
    assert held(*ids) == ["unregistered"] * 3
    rows = Task.objects.order_by("id").values_list("unregistered_since", "attempts", "execute_after")
    assert list(rows) == before
    assert recorded_events.of(TasksHeld) == []


def test_what_another_manager_knows_is_left_to_it(open_harness):
    other = register_manager()
    holding.publish(connection, other, ["Newcomer"])
    register_processors("Letter")
    harness = open_harness(Until.IDLE, max_queue_size=2)
    ids, letters = insert_many(100, "Newcomer"), insert_many(5, "Letter")

    assert harness.manager.run() == EXIT_OK

    assert statuses_of(*letters) == ["finished"] * 5
    rows = Task.objects.filter(pk__in=ids, status="new")
    assert rows.count() == 100
    assert rows.filter(ready=True, held=None).count() > 10


def test_a_rescued_task_of_an_unknown_processor_is_set_aside_and_counts_nothing(open_harness):
    [row] = claimed(processor="Gone")
    ManagerLease.objects.all().delete()
    harness = open_harness()

    harness.turn_until(lambda: held(row[ID]) == ["unregistered"])

    assert columns(row[ID], "status", "attempts", "crashes") == ("new", 0, 0)


def test_a_task_that_is_set_aside_keeps_its_key_and_a_duplicate_finds_it(open_harness):
    class Gone(Idle):
        """A processor registered where tasks are enqueued, but not where they run."""

    with empty_registry():
        registry.register(Gone)
        task = Gone(1).delay()
    harness = open_harness(Until.EMPTY)

    assert harness.manager.run() == EXIT_OK

    assert held(task.pk) == ["unregistered"]
    with empty_registry():
        registry.register(Gone)
        assert Gone(1).delay().pk == task.pk


def published() -> list[Any]:
    """Return the processors published in each manager's row."""
    return [(manager.state or {}).get("processors") for manager in ManagerLease.objects.all()]


def test_what_no_manager_knew_for_too_long_fails_and_says_why(recorded_events: RecordedEvents):
    [pk] = insert_many(1, "Gone", context='{"traceparent": "t"}')
    set_aside(pk)
    thread, config = FakeDatabaseThread(), config_of(unregistered_grace_seconds=0)
    outage, manager = Outage(SharedOutage("default")), register_manager()
    held_tasks = HeldTasks(config, thread, outage, KnownProcessors([]), lambda: manager, lambda: None)

    held_tasks.turn(time.monotonic() + config.lease_seconds + 1)
    thread.answer(thread.call(connection))

    [failed] = recorded_events.of(TaskFailed)
    assert (failed.run.id, failed.reason) == (pk, "unregistered")
    assert failed.run.headers == {"traceparent": "t"}
    reason, error, message = columns(pk, "error_reason", "error_type", "error_message")
    assert (reason, error) == ("unregistered", failed.error.type)
    assert message == failed.error.message == str(registry.unknown("Gone"))


def test_a_manager_that_stops_publishes_at_once_that_it_drains_and_knows_no_processor():
    thread, outage, manager = FakeDatabaseThread(), Outage(SharedOutage("default")), register_manager()
    holding.publish(connection, manager, ["Letter"])
    held_tasks = HeldTasks(
        config_of(), thread, outage, KnownProcessors(["Letter"]), lambda: manager, lambda: None
    )

    held_tasks.stop()
    thread.answer(thread.call(connection))

    assert ManagerLease.objects.get().state == {"processors": [], "draining": True}
