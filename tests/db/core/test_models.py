"""Queries about tasks, named as in the documentation."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import IntegrityError
from django.db.models import Model
from django.utils import timezone

from django_partisan.models import Slot, Task
from django_partisan.sql.columns import fields_with_column
from tests.support.rows import insert

pytestmark = pytest.mark.django_db


def test_tasks_are_found_by_what_they_are():
    due = insert().pk
    ahead = insert(execute_after=timezone.now() + timedelta(hours=1)).pk
    others = {status: insert().pk for status in ("in_process", "finished", "error")}
    for status, pk in others.items():
        Task.objects.filter(pk=pk).update(status=status)

    found = {
        name: set(getattr(Task.objects, name)().values_list("pk", flat=True))
        for name in ("waiting", "due", "scheduled", "in_process", "finished", "failed")
    }
    assert found == {
        "waiting": {due, ahead},
        "due": {due},
        "scheduled": {ahead},
        "in_process": {others["in_process"]},
        "finished": {others["finished"]},
        "failed": {others["error"]},
    }


def test_a_task_is_due_by_the_clock_of_the_database(monkeypatch):
    pk = insert(execute_after=timezone.now() + timedelta(hours=1)).pk
    monkeypatch.setattr(timezone, "now", lambda: pytest.fail("asked Python for the time"))

    assert [task.pk for task in Task.objects.scheduled()] == [pk]


def test_a_task_names_itself_and_has_the_status_values_of_version_1():
    task = insert()

    assert str(task) == f"Letter {task.pk} (new)"
    assert [value for value, _ in Task.STATUS_CHOICES] == ["new", "in_process", "error", "finished"]


def values(task: Task) -> dict[str, Any]:
    return {field.attname: getattr(task, field.attname) for field in Task._meta.concrete_fields}


def test_a_new_row_has_the_values_of_every_column_without_another_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        new = values(insert())

    assert new == values(Task.objects.get())


def test_the_row_of_a_duplicate_has_the_values_that_features_gave_it():
    key, moment = uuid4(), timezone.now()
    pk = insert(key=key).pk
    given = {"takeovers": 2, "timeout_seconds": 1.5, "expires_at": moment, "held": "limit", "worker": "w"}
    given |= {"history": [{"attempt": 1}], "concurrency_key": key, "scheduled_for": moment}
    Task.objects.filter(pk=pk).update(**given)

    duplicate = values(insert(key=key, expires_at=moment))

    assert duplicate == values(Task.objects.get())
    assert duplicate.items() >= given.items()


def test_a_slot_is_found_by_its_key_and_number_and_is_free_at_first():
    key = uuid4()

    Slot.objects.bulk_create(Slot(key=key, number=number) for number in range(2))

    assert Slot.objects.get(pk=(key, 1)).task_id is None
    with pytest.raises(IntegrityError):
        Slot.objects.create(key=key, number=1)


@pytest.mark.parametrize("model", list(apps.get_app_config("django_partisan").get_models()))
def test_fields_with_a_column_are_those_that_from_db_takes(model: type[Model]):
    assert fields_with_column(model) == list(model._meta.concrete_fields)
