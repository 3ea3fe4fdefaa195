"""The results of an operation are read from the database that was written: a replica may lag behind."""

from collections.abc import Iterator
from typing import Any

import pytest

from django_partisan.models import Schedule, Task
from tests.support.database import database_elsewhere
from tests.support.rows import insert

pytestmark = pytest.mark.django_db

REPLICA = "replica"


class ReplicaRouter:
    """Read from a replica that cannot be reached, so that reading from it is an error."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return REPLICA

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.fixture(autouse=True)
def _replica() -> Iterator[None]:
    with database_elsewhere(REPLICA, ReplicaRouter(), HOST="127.0.0.1", PORT="1"):
        yield


def test_a_task_that_is_cancelled_and_requeued_has_the_values_of_its_row():
    task = Task(pk=insert().pk)

    task.cancel("wrong address")
    cancelled = task.status
    task.requeue()

    assert (cancelled, task.status, task.error_message) == ("error", "new", "wrong address")


def test_a_schedule_that_is_paused_and_resumed_has_the_values_of_its_row():
    Schedule.objects.bulk_create([Schedule(name="nightly", task="Report", every=60)])
    row = Schedule(name="nightly", task="Report", every=60)

    row.pause("they move")
    paused = row.state, row.comment
    row.resume()

    assert paused == ("paused", "they move")
    assert row.state == "active"
    assert row.next_at is not None


def test_a_schedule_that_is_saved_as_paused_has_the_values_of_its_row():
    Schedule.objects.bulk_create([Schedule(name="nightly", task="Report", every=60)])
    row = Schedule.objects.using("default").get()

    row.paused = True
    row.save()
    row.paused = False
    row.save()

    assert row.next_at is not None
