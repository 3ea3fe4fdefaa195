"""A dead manager is removed and its tasks are rescued in one transaction."""

from typing import Any, cast
from uuid import UUID

import pytest
from django.db import DataError, connection

from django_partisan.models import ManagerLease, Task
from django_partisan.sql import leasing
from tests.support.rows import claimed, register_manager

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dead() -> UUID:
    """A manager that held one task when it died."""
    manager = register_manager()
    claimed(1, manager)
    return manager


def test_tasks_of_a_dead_manager_are_rescued_as_it_is_removed(dead: UUID):
    rescuer, task = register_manager(), Task.objects.get()

    [rescued] = leasing.rescue(connection, "default", rescuer, [dead], [task.pk])

    task.refresh_from_db()
    assert (rescued.previous_manager, task.claimed_by, task.crashes) == (dead, rescuer, 1)
    assert not ManagerLease.objects.filter(pk=dead).exists()
    assert connection.get_autocommit()


def test_a_rescue_that_fails_removes_nobody(dead: UUID):
    begun = cast(Any, ["no id"])  # PostgreSQL refuses the statement that rescues

    with pytest.raises(DataError):
        leasing.rescue(connection, "default", register_manager(), [dead], begun)

    assert ManagerLease.objects.filter(pk=dead).exists()
    assert connection.get_autocommit()
