"""Which permissions allow viewing, writing, and each action on tasks."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_partisan.models import Task
from tests.support.admin import TASKS, make_manager, make_task, page_of, staff

pytestmark = pytest.mark.django_db

ACTIONS = {
    "requeue": "requeue_task",
    "cancel": "cancel_task",
    "run_now": "run_task_now",
    "prioritize": "prioritize_task",
    "delete_done": "delete_task",
}


def task_for(action: str) -> Task:
    """Insert a task to which an action applies, in a state that the action changes."""
    if action in ("requeue", "delete_done"):
        return make_task(status="error", error_reason="error")
    return make_task(execute_after=timezone.now() + timedelta(hours=2))


def confirmed(action: str, task: Task) -> dict[str, Any]:
    """Return the form data that confirms an action."""
    chosen = {"_selected_action": task.pk, "chosen": task.pk, "confirmed": "yes"}
    return {"action": action, "priority": 3, "comment": "", **chosen}


def row_of(task: Task) -> Any:
    return Task.objects.filter(pk=task.pk).values().first()


def offered(browser: Client, task: Task) -> tuple[list[str], list[str]]:
    """Return the actions in the list's menu, and the buttons on a task's page."""
    form = browser.get(TASKS).context["action_form"]
    menu = [] if form is None else [name for name, _ in form.fields["action"].choices if name]
    return menu, [button.name for button in browser.get(page_of(task)).context["partisan_buttons"]]


@pytest.mark.parametrize("make", [make_task, make_manager])
def test_nobody_can_add_change_or_delete(browser, make):
    row = make()
    page, add = page_of(row), reverse(f"admin:django_partisan_{row._meta.model_name}_add")

    answers = [browser.post(url, {}).status_code for url in (add, page, page.replace("/change/", "/delete/"))]

    assert answers == [403, 403, 403]
    assert type(row).objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(("permissions", "status"), [(["view_task"], 200), ([], 403)])
def test_users_need_the_view_permission_and_no_other(client, permissions, status):
    client.force_login(staff(*permissions))

    assert client.get(TASKS).status_code == status


def test_who_may_only_look_is_offered_nothing(client):
    client.force_login(staff("view_task"))

    assert offered(client, make_task(status="error")) == ([], [])


@pytest.mark.parametrize(("action", "permission"), ACTIONS.items())
def test_each_action_is_offered_with_its_permission_alone(client, action, permission):
    task = task_for(action)
    client.force_login(staff("view_task", permission))

    assert offered(client, task) == ([action], [action])


@pytest.mark.parametrize(("action", "permission"), ACTIONS.items())
def test_without_its_permission_an_action_is_neither_offered_nor_carried_out(client, action, permission):
    task = task_for(action)
    before = row_of(task)
    client.force_login(staff("view_task", *(set(ACTIONS.values()) - {permission})))

    menu, buttons = offered(client, task)
    chosen = {"action": action, "_selected_action": task.pk}
    answers = [client.post(TASKS, data) for data in (chosen, confirmed(action, task))]

    assert action not in menu
    assert action not in buttons
    assert [answer.status_code for answer in answers] == [403, 403]
    assert row_of(task) == before


@pytest.mark.parametrize(("action", "permission"), ACTIONS.items())
def test_who_may_not_look_may_not_act(client, action, permission):
    task = task_for(action)
    before = row_of(task)
    client.force_login(staff(permission))

    assert client.post(TASKS, confirmed(action, task)).status_code == 403
    assert row_of(task) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_carried_out_by_post_alone(browser, action):
    task = task_for(action)
    before = row_of(task)

    browser.get(TASKS, confirmed(action, task))
    for method in (browser.put, browser.delete, browser.patch):
        body = urlencode(confirmed(action, task))
        method(TASKS, body, content_type="application/x-www-form-urlencoded")

    assert row_of(task) == before
    browser.post(TASKS, confirmed(action, task))
    assert row_of(task) != before


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_needs_the_token_of_a_form(admin_user, action):
    task = task_for(action)
    before = row_of(task)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)

    assert browser.post(TASKS, confirmed(action, task)).status_code == 403
    assert row_of(task) == before

    browser.get(TASKS)
    token = browser.cookies["csrftoken"].value
    answer = browser.post(TASKS, {**confirmed(action, task), "csrfmiddlewaretoken": token})
    assert answer.status_code == 302
    assert row_of(task) != before


def test_the_pages_with_actions_carry_the_token(admin_user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    task = make_task(status="error")

    page = browser.get(page_of(task)).content.decode()

    assert page.count("csrfmiddlewaretoken") > page.count("partisan-buttons")


def test_djangos_own_way_to_delete_what_is_chosen_is_not_offered(browser):
    task = make_task()

    browser.post(TASKS, {"action": "delete_selected", "_selected_action": task.pk, "post": "yes"})

    assert "delete_selected" not in offered(browser, task)[0]
    assert row_of(task)
