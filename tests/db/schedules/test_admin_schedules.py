"""The admin shows schedules, changes those created by hand, and runs and pauses all, by permission."""

import re
from datetime import datetime, timezone
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from django_partisan.admin.columns import UNREADABLE as UNREADABLE_WORDS
from django_partisan.models import Schedule, Task
from django_partisan.sql.connection import execute
from tests.support.admin import SCHEDULES as LIST
from tests.support.admin import listed, page_of, staff, text
from tests.support.schedule_rows import made, of_settings, stored
from tests.support.schedules import UNREADABLE

pytestmark = pytest.mark.django_db

ADD = reverse("admin:django_partisan_schedule_add")
TICK = datetime(2026, 11, 30, 3, tzinfo=timezone.utc)
FILLED = {
    "name": "nightly", "task": "Report", "cron": "0 3 * * *", "every": "", "time_zone": "Europe/Berlin",
    "args": "[2027]", "kwargs": "", "queue_name": "", "priority": "", "catch_up": "one", "overlap": "on",
    "expires_seconds": "", "comment": "",
}  # fmt: skip


@pytest.fixture
def clerk(client: Client) -> Any:
    """Return a function that logs in a user with permissions on schedules."""

    def log_in(*actions: str) -> Client:
        client.force_login(staff(*(f"{action}_schedule" for action in actions)))
        return client

    return log_in


def act(browser: Client, name: str, *rows: str) -> Any:
    return browser.post(LIST, {"action": name, "_selected_action": rows}, follow=True)


def said(response: Any) -> list[str]:
    """Return the page's messages after an action."""
    return [str(message) for message in response.context["messages"]]


def ticked(**columns: Any) -> None:
    recent = [
        {"at": TICK.isoformat(), "outcome": "overlap", "task": None},
        {"at": TICK.isoformat(), "outcome": "enqueued", "task": 4711, "ended": "failed"},
    ]
    Schedule.objects.update(**{"recent_ticks": recent, "totals": {"enqueued": 1, "overlap": 1}, **columns})


def test_a_schedule_is_added_and_starts_at_its_next_tick(clerk):
    browser = clerk("view", "add")
    assert "Required" not in text(browser, ADD)

    assert browser.post(ADD, FILLED).status_code == 302

    row = stored()
    assert (row.cron, row.args, row.kwargs, row.queue_name) == ("0 3 * * *", [2027], {}, None)
    assert (row.every, row.time_zone, row.origin) == (None, "Europe/Berlin", "database")
    assert row.next_at is not None
    assert LogEntry.objects.get().object_id == "nightly"


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"task": "Nothing"}, "task", "did you mean"),
        ({"cron": "0 25 * * *"}, "cron", "The hour field of"),
        ({"time_zone": "Mars"}, "time_zone", "is 'Mars'"),
        ({"args": "{}"}, "args", "expected a list or tuple"),
        ({"args": "[1, 2, 3]"}, "args", "too many positional arguments"),
        ({"every": "5"}, "__all__", "exactly one of"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(clerk, change: dict[str, str], field: str, said: str):
    response = clerk("view", "add").post(ADD, {**FILLED, **change})

    errors = response.context["adminform"].form.errors
    assert list(errors) == [field]
    assert said in errors[field][0] or said == "did you mean"
    assert not Schedule.objects.exists()


def test_arguments_may_be_left_empty(clerk):
    clerk("view", "add").post(ADD, {**FILLED, "args": "", "kwargs": ""})

    assert (stored().args, stored().kwargs) == ([], {})


def test_a_schedule_made_by_hand_is_changed_but_not_its_name(clerk):
    row = made(every=None, cron="0 3 * * *", time_zone="Europe/Berlin")
    browser = clerk("view", "change", "delete")

    assert browser.post(page_of(row), {**FILLED, "name": "other", "priority": "3"}).status_code == 302

    assert [(one.name, one.priority, one.args) for one in Schedule.objects.all()] == [("nightly", 3, [2027])]
    browser.post(reverse("admin:django_partisan_schedule_delete", args=["nightly"]), {"post": "yes"})
    assert not Schedule.objects.exists()


def test_of_a_schedule_of_the_settings_only_the_comment_is_changed(clerk):
    row = of_settings()
    browser = clerk("view", "change", "delete")

    assert browser.post(page_of(row), {**FILLED, "comment": "ask Ada"}).status_code == 302

    assert (stored().comment, stored().every, stored().cron) == ("ask Ada", 60, None)
    delete = reverse("admin:django_partisan_schedule_delete", args=["nightly"])
    assert browser.post(delete, {"post": "yes"}).status_code == 403
    Schedule.objects.update(stopped_at=now())
    assert browser.post(delete, {"post": "yes"}).status_code == 302
    assert not Schedule.objects.exists()


def test_its_page_shows_the_next_five_ticks_and_what_became_of_the_last(clerk):
    row = made(every=None, cron="0 3 1 1 *", time_zone="Europe/Berlin")
    ticked(error="no luck")

    page = text(clerk("view"), page_of(row))

    year = now().year
    for number in range(2, 6):
        assert f"{year + number}-01-01 03:00:00 CET" in page
    assert page.count("-01-01 03:00:00 CET") == 5
    assert reverse("admin:django_partisan_task_change", args=[4711]) in page
    assert "failed" in page
    assert "no luck" in page
    assert "enqueued: 1, overlap: 1" in page


def test_its_page_leaves_out_what_has_not_happened(clerk):
    row = made(every=3600)
    browser = clerk("view", "change")

    before = text(browser, page_of(row))
    ticked(error="no luck", stopped_at=TICK)
    after = text(browser, page_of(row))

    fields = ("Error:", "Total ticks:", "Last ticks:", "Stopped at:")
    assert [field for field in fields if field in before] == []
    assert [field for field in fields if field not in after] == []
    assert "None" not in before


def test_labels_of_its_form_begin_with_a_capital(clerk):
    form = clerk("view", "add").get(ADD).context["adminform"].form

    labels = [str(field.label) for field in form]
    assert len(labels) == len(FILLED)
    assert [label for label in labels if not label[0].isupper()] == []


def test_the_page_of_an_interval_shows_its_ticks_and_a_broken_definition_why_there_are_none(clerk):
    row = made(every=3600)
    browser = clerk("view")
    assert text(browser, page_of(row)).count(":00:00 UTC") >= 5

    Schedule.objects.update(every=None, cron="0 25 * * *")

    assert "The hour field of" in text(browser, page_of(row))


def test_arguments_are_hidden_and_redacted_from_those_who_may_only_look(clerk, settings: Any):
    row = made(task="Cleanup", kwargs={"password": "swordfish", "order": 4711})
    browser = clerk("view")

    assert "4711" not in text(browser, page_of(row))
    settings.PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": True}

    assert "4711" in text(browser, page_of(row))
    assert "swordfish" not in text(browser, page_of(row))


def test_the_list_shows_when_each_ticks_and_why_one_does_not(clerk):
    made(name="often", every=300)
    made(name="paused", every=None, cron="0 3 * * *", time_zone="Europe/Berlin")
    of_settings(name="stopped", stopped_at=now())
    Schedule.objects.filter(name="paused").update(paused=True, comment="they move")
    browser = clerk("view")

    assert listed(browser, url=LIST) == ["often", "paused", "stopped"]
    page = text(browser, LIST).replace("<wbr>", "")
    assert "5\xa0min" in page
    assert "Europe/Berlin" in page
    assert "they move" in page
    assert "no live manager" in page
    ticked(next_at=None)
    assert "enqueued, failed" in text(browser, LIST).replace("<wbr>", "")


def test_a_schedule_is_run_now(clerk):
    made()

    response = act(clerk("view", "run"), "run_now", "nightly")

    task = Task.objects.get()
    assert said(response) == [f"Schedule nightly: Enqueued task {task.pk}."]
    assert LogEntry.objects.get().change_message == f"Enqueued task {task.pk}."


def test_one_that_must_not_overlap_is_not_run_twice(clerk):
    made(overlap=False)
    browser = clerk("view", "run")
    act(browser, "run_now", "nightly")

    response = act(browser, "run_now", "nightly")

    assert said(response) == ["Schedule nightly: Not run: its last task is still waiting or running."]
    assert Task.objects.count() == 1


def test_a_pause_keeps_the_comment(clerk):
    made(comment="ask Ada")
    browser = clerk("view", "pause")

    act(browser, "pause", "nightly")

    assert (stored().paused, stored().comment) == (True, "ask Ada")


def test_several_made_by_hand_are_deleted(clerk):
    made()
    made(name="other")
    browser = clerk("view", "delete")

    given = {"action": "delete_selected", "_selected_action": ["nightly", "other"], "post": "yes"}
    browser.post(LIST, given)

    assert not Schedule.objects.exists()


def test_schedules_are_paused_and_resumed(clerk):
    made()
    made(name="other")
    browser = clerk("view", "pause")

    act(browser, "pause", "nightly", "other")
    assert list(Schedule.objects.values_list("paused", flat=True)) == [True, True]
    act(browser, "resume", "other")

    assert stored().paused
    assert not stored("other").paused


def test_an_error_of_one_leaves_the_others(clerk):
    made(name="broken")
    made(name="fine")
    Schedule.objects.filter(name="broken").update(task="Nothing")

    response = act(clerk("view", "run"), "run_now", "broken", "fine")

    broken, fine = said(response)
    assert broken.startswith("Schedule broken: No processor is registered as")
    assert fine.startswith("Schedule fine: Enqueued task")


@pytest.mark.parametrize("column", ["args", "kwargs", "definition", "recent_ticks", "open_tick", "totals"])
def test_a_row_with_json_that_python_cannot_read_is_shown_and_not_run(clerk, column: str):
    row = made(name="broken")
    made(name="fine")
    execute(connection, f"UPDATE django_partisan_schedule SET {column} = {UNREADABLE} WHERE name = 'broken'")
    browser = clerk("view", "change", "run")

    response = act(browser, "run_now", "broken", "fine")

    broken, fine = said(response)
    assert broken.startswith(f"Schedule broken: {column} is JSON that Python cannot parse")
    assert fine.startswith("Schedule fine: Enqueued task")
    assert browser.get(page_of(row)).status_code == 200


def test_a_page_has_the_buttons_of_what_the_user_may_do_now(clerk):
    row = made()
    browser = clerk("view", "pause", "run")

    def buttons() -> list[str]:
        return [action.name for action in browser.get(page_of(row)).context["partisan_buttons"]]

    assert buttons() == ["run_now", "pause"]
    act(browser, "pause", "nightly")
    assert buttons() == ["run_now", "resume"]
    assert browser.get(page_of(Schedule(name="none"))).status_code == 302


def test_the_page_that_the_list_links_to_has_them_whatever_the_name(clerk):
    row = made(name="send_mail/daily")
    browser = clerk("view", "pause")
    [link] = re.findall(r'<th class="field-name_and_task"><a href="([^"]+)"', text(browser, LIST))

    page = browser.get(link)

    assert page.context["original"] == row
    assert [action.name for action in page.context["partisan_buttons"]] == ["pause"]


@pytest.mark.parametrize("action", ["run_now", "pause", "resume"])
def test_who_may_only_look_does_nothing(clerk, action: str):
    row = made()
    browser = clerk("view")

    response = act(browser, action, "nightly")

    assert response.status_code == 403
    assert not Task.objects.exists()
    assert not stored().paused
    assert browser.post(ADD, FILLED).status_code == 403
    assert browser.post(page_of(row), FILLED).status_code == 403
    assert browser.get(page_of(row)).context["partisan_buttons"] == []


@pytest.mark.parametrize("tick", [{}, {"at": None}, {"at": "noon"}, {"at": 5}])
def test_a_tick_without_a_moment_is_shown_without_it(clerk, tick: dict[str, Any]):
    row = made()
    Schedule.objects.update(recent_ticks=[{"outcome": "enqueued", "task": 4711, **tick}])
    browser = clerk("view")

    assert "enqueued" in text(browser, LIST)
    assert reverse("admin:django_partisan_task_change", args=[4711]) in text(browser, page_of(row))


@pytest.mark.parametrize("task", ["", "4711", {}, 47.11])
def test_what_sql_has_written_into_a_tick_is_shown_as_it_is(clerk, task: Any):
    row = made()
    ticked(recent_ticks=[{"outcome": 5, "task": task, "ended": ["late"]}])
    browser = clerk("view")

    assert "5, [&#x27;late&#x27;]" in text(browser, LIST).replace("<wbr>", "")
    assert "<td>5</td><td></td>" in text(browser, page_of(row))


def test_totals_that_are_no_object_are_said_to_be_unreadable(clerk):
    row = made()
    ticked(totals=[5])

    assert str(UNREADABLE_WORDS) in text(clerk("view"), page_of(row))


@pytest.mark.parametrize("recent", [{"at": "noon"}, ["noon"], [None], "noon", 5])
def test_what_is_no_tick_is_left_out(clerk, recent: Any):
    row = made()
    Schedule.objects.update(recent_ticks=recent)
    browser = clerk("view")

    assert "noon" not in text(browser, LIST)
    assert "noon" not in text(browser, page_of(row))
