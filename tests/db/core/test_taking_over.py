"""Burying and adopting stand or fall together."""

import uuid
from typing import Any

import pytest
from django.db import DatabaseError, connection

from django_partisan.models import ManagerLease, Task
from django_partisan.sql import leasing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dead() -> uuid.UUID:
    """A manager that held one task when it died."""
    manager = uuid.uuid4()
    leasing.register(connection, manager, "default", "host", 1, uuid.uuid4(), 30)
    Task.objects.create(processor_class="Letter", status="in_process", claimed_by=manager, claim_token=7)
    return manager


def test_what_the_dead_held_is_ours_once_they_are_buried(dead: uuid.UUID):
    heir = uuid.uuid4()
    task = Task.objects.get()

    [orphan] = leasing.take_over(connection, "default", heir, [dead], [task.pk])

    task.refresh_from_db()
    assert (orphan.previous_manager, task.claimed_by, task.crashes) == (dead, heir, 1)
    assert not ManagerLease.objects.filter(pk=dead).exists()
    assert connection.get_autocommit()


def test_who_cannot_adopt_does_not_bury(dead: uuid.UUID, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: Any) -> Any:
        raise DatabaseError("no more locks")

    monkeypatch.setattr(leasing, "adopt", refuse)

    with pytest.raises(DatabaseError, match="no more locks"):
        leasing.take_over(connection, "default", uuid.uuid4(), [dead], [])

    assert ManagerLease.objects.filter(pk=dead).exists()
    assert connection.get_autocommit()
