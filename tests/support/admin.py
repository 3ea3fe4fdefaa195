"""Helpers for admin tests: rows, pages, and users with permissions."""

import uuid
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from django_partisan.models import ManagerLease, Task

TASKS = reverse("admin:django_partisan_task_changelist")
MANAGERS = reverse("admin:django_partisan_managerlease_changelist")
SCHEDULES = reverse("admin:django_partisan_schedule_changelist")


def make_task(**values: Any) -> Task:
    """Insert a task with only the columns that matter here."""
    fixed = {"processor_class": "Letter", "arguments": {"args": [], "kwargs": {}}}
    return Task.objects.create(**fixed | values)


def make_manager(**values: Any) -> ManagerLease:
    """Insert a manager with only the columns that matter here."""
    fixed = {
        "queue_name": "default",
        "host": "here",
        "pid": 17,
        "lock_name": uuid.uuid4(),
        "lease_seconds": 30,
    }
    return ManagerLease.objects.create(**fixed | values)


def page_of(row: Model) -> str:
    """Return the path of a row's page."""
    return reverse(f"admin:django_partisan_{row._meta.model_name}_change", args=[row.pk])


def listed(browser: Client, query: str = "", url: str = TASKS) -> list[Any]:
    """Return the ids shown on a changelist page."""
    response = browser.get(url + query)
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


def text(browser: Client, url: str) -> str:
    """Return a page."""
    response = browser.get(url)
    assert response.status_code == 200
    return response.content.decode()


def staff(*permissions: str, name: str = "operator") -> User:
    """Return a new staff user with these permissions."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user
