"""Questions about tasks in the words of the documentation."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_partisan.models import Task
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


def test_a_task_names_itself():
    task = insert()

    assert str(task) == f"Letter {task.pk} (new)"


def test_the_status_values_are_those_of_version_1():
    assert [value for value, _ in Task.STATUS_CHOICES] == ["new", "in_process", "error", "finished"]
    assert Task._meta.db_table == "django_partisan_task"
