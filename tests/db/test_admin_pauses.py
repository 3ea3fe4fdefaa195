"""The admin pauses and resumes queues, for users with permission."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from django_partisan.models import Pause
from django_partisan.pausing import pause, paused_queues

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("two_queues")]

LIST = reverse("admin:django_partisan_pause_changelist")
ADD = reverse("admin:django_partisan_pause_add")


@pytest.fixture
def two_queues() -> Iterator[None]:
    with override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}}):
        yield


@pytest.fixture
def clerk(client: Client) -> Any:
    """Return a function that logs in a user with permissions on pauses."""

    def log_in(*actions: str) -> Client:
        user = User.objects.create_user("clerk", is_staff=True)
        names = [f"{action}_pause" for action in actions]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client.force_login(user)
        return client

    return log_in


def filled(queue: str = "mail", until: Any = None, comment: str = "") -> dict[str, str]:
    local = "" if until is None else timezone.localtime(until)
    return {
        "queue_name": queue,
        "until_0": f"{local:%Y-%m-%d}" if local else "",
        "until_1": f"{local:%H:%M:%S}" if local else "",
        "comment": comment,
    }


def page_of(row: Pause, action: str) -> str:
    return reverse(f"admin:django_partisan_pause_{action}", args=[row.pk])


def test_to_add_a_pause_pauses_its_queue(clerk):
    browser = clerk("view", "add")
    assert "mail" in browser.get(ADD).content.decode()

    assert browser.post(ADD, filled(comment="<b>it moves</b>")).status_code == 302

    [paused] = paused_queues()
    assert (paused.queue_name, paused.until, paused.comment) == ("mail", None, "<b>it moves</b>")
    assert paused.by == "clerk"
    assert "&lt;b&gt;it moves" in browser.get(LIST).content.decode()
    assert LogEntry.objects.get().object_id == str(Pause.objects.get().pk)


@pytest.mark.parametrize("has_ended", [True, False])
def test_a_queue_that_has_a_pause_gets_the_new_end(clerk, has_ended: bool):
    until = timezone.now().replace(microsecond=0) + timedelta(hours=2)
    pause("mail")
    if has_ended:
        Pause.objects.update(until=timezone.now() - timedelta(hours=1))

    assert clerk("view", "add").post(ADD, filled(until=until)).status_code == 302

    assert [paused.until for paused in paused_queues()] == [until]


def test_a_pause_can_be_changed_but_not_its_queue(clerk):
    pause("mail", comment="one")
    page = page_of(Pause.objects.get(), "change")

    assert clerk("view", "change").post(page, filled("default", comment="two")).status_code == 302

    assert [(one.queue_name, one.comment) for one in paused_queues()] == [("mail", "two")]


def test_to_delete_a_pause_resumes_its_queue(clerk):
    pause("mail")
    pause("default")
    browser = clerk("view", "delete")
    first, second = Pause.objects.order_by("queue_name")

    browser.post(page_of(first, "delete"), {"post": "yes"})
    assert [one.queue_name for one in paused_queues()] == ["mail"]
    chosen = {"action": "delete_selected", "_selected_action": [second.pk], "post": "yes"}
    browser.post(LIST, chosen)

    assert paused_queues() == []


def test_an_end_in_the_past_is_refused(clerk):
    response = clerk("view", "add").post(ADD, filled(until=timezone.now() - timedelta(days=1)))

    assert "This moment is in the past." in response.content.decode()
    assert not Pause.objects.exists()


def test_who_may_only_view_pauses_changes_nothing(clerk):
    pause("mail")
    row = Pause.objects.get()
    browser = clerk("view")

    codes = [browser.post(url, filled()).status_code for url in (ADD, page_of(row, "change"))]
    codes.append(browser.post(page_of(row, "delete"), {"post": "yes"}).status_code)

    assert codes == [403, 403, 403]
    assert browser.get(page_of(row, "change")).status_code == 200
    assert [one.comment for one in paused_queues()] == [""]


def test_a_pause_that_has_ended_is_shown_as_such_and_one_of_a_processor_is_not_shown(admin_client: Client):
    Pause.objects.create(queue_name="mail", until=timezone.now() - timedelta(hours=1))
    Pause.objects.create(queue_name="mail", processor_class="Letter")

    response = admin_client.get(LIST)

    [shown] = response.context["cl"].result_list
    assert shown.processor_class == ""
    assert "icon-no" in response.content.decode()
