"""A manager ends waiting tasks that have a cancel request."""

from uuid import uuid4

import pytest
from django.db import connection

from django_partisan import registry
from django_partisan.engine.manager.cancellations import _read_requests
from django_partisan.models import CancelRequest, Task
from django_partisan.telemetry.events.operators import TasksCancelled
from django_partisan.telemetry.events.runs import TaskStarted
from tests.support.events import RecordedEvents
from tests.support.registry import Idle
from tests.support.rows import columns, insert_many, statuses_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_registry", "no_subscribers"),
]


def test_requests_that_the_first_heartbeat_finds_end_what_waits_and_those_of_ended_tasks_go(
    open_harness, recorded_events: RecordedEvents
):
    registry.register(type("Letter", (Idle,), {}))
    *ids, other = insert_many(4)
    Task.objects.filter(pk__in=ids).update(ready=False, held="paused")  # so that no claim takes them first
    comments = dict(zip(ids, ["sent twice", "sent twice", ""], strict=True))
    for task_id, comment in {**comments, other + 1: "it is gone"}.items():
        CancelRequest.objects.create(task_id=task_id, comment=comment)

    harness = open_harness()
    harness.turn_until(lambda: statuses_of(*ids, other) == ["error"] * 3 + ["finished"])
    harness.turn_until(lambda: not CancelRequest.objects.exists())

    assert [columns(task_id, "error_message") for task_id in ids] == [
        "sent twice",
        "sent twice",
        "The task was cancelled.",
    ]
    assert {event.run.id for event in recorded_events.of(TaskStarted)} == {other}
    assert sorted(event.task_ids for event in recorded_events.of(TasksCancelled)) == [
        (task_id,) for task_id in ids
    ]


def test_a_look_ends_what_waits_and_only_names_what_a_manager_holds():
    waiting, running = insert_many(2)
    Task.objects.filter(pk=running).update(status="in_process", claim_token=7)
    for task_id in (waiting, running):
        CancelRequest.objects.create(task_id=task_id)

    found = _read_requests(connection, "default", uuid4())

    assert {request.task_id for request in found.requests} == {waiting, running}
    assert statuses_of(waiting, running) == ["error", "in_process"]
