"""The admin in a real Chromium: no page overflows, no script fails, actions work.

Screenshots for review are written to build/admin.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client, override_settings
from pytest_django.live_server_helper import LiveServer

from django_partisan.models import ManagerLease, Schedule, Task
from tests.real_parts import admin_schedules, admin_site
from tests.support.admin import MANAGERS, SCHEDULES, TASKS, page_of
from tests.support.commands import ROOT
from tests.support.database import sessions_of_others
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PICTURES = ROOT / "build" / "admin"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
THEMES: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "is_mobile": True, "has_touch": True},
}
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
RESULTS_OVERFLOW = """() => {
    const results = document.querySelector('.results');
    return results.scrollWidth - results.clientWidth;
}"""


@pytest.fixture
def site(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the admin with its static files; return its address."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # playwright runs an event loop in this thread
    apps = ["django.contrib.staticfiles", *settings.INSTALLED_APPS]
    shown = {"LOG_TASK_ARGS": True}
    queues: dict[str, Any] = {"mail": {}}
    with override_settings(
        INSTALLED_APPS=apps, STATIC_URL="/static/", PARTISAN_OBSERVABILITY=shown, PARTISAN_CONFIG=queues
    ):
        server = LiveServer("127.0.0.1")
        yield server.url
        server.stop()
        wait_until(lambda: sessions_of_others() == [], 20, "the server's connections to end")


@pytest.fixture
def rows(transactional_db: None) -> dict[str, Task]:
    return admin_site.fill()


@pytest.fixture
def schedules(rows: dict[str, Task]) -> dict[str, Schedule]:
    return admin_schedules.fill()


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(site: str, rows: dict[str, Task], theme: str) -> Iterator[Any]:
    """Open a page of a superuser in Chromium; fail if the page reports a problem."""
    user = User.objects.create_superuser("admin")
    client = Client()
    client.force_login(user)
    problems: list[str] = []
    with admin_site.chromium() as browser:
        context = browser.new_context(base_url=site, **THEMES[theme])
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": site}])
        opened = context.new_page()
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("console", lambda said: problems.append(said.text) if _is_problem(said) else None)
        opened.on("dialog", lambda dialog: problems.append(dialog.message))
        yield opened
        connections.close_all()  # those of the event loop's context, which the test used
        context.close()
    assert problems == []


def _is_problem(said: Any) -> bool:
    """Return whether Chromium reports an error; the missing icon of the test site does not count."""
    return said.type == "error" and not said.location["url"].endswith("/favicon.ico")


def picture(page: Any, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(Path(PICTURES, f"{name}.png")), full_page=True)


def test_no_page_is_wider_than_the_window_and_each_can_be_looked_at(page, rows, schedules, theme):
    manager = ManagerLease.objects.get(host="web-1.example.org")
    pages = {
        "list": TASKS,
        "list-failed": f"{TASKS}?status__exact=error",
        "list-search": f"{TASKS}?q=order%3D4711",
        **{
            f"task-{name}": page_of(rows[name])
            for name in ("failed", "scheduled", "held", "running", "marked")
        },
        "managers": MANAGERS,
        "manager": page_of(manager),
        "list-schedules": SCHEDULES,
        "schedule-add": f"{SCHEDULES}add/",
        **{f"schedule-{name}": page_of(row) for name, row in schedules.items()},
    }
    too_wide = {}
    for name, path in pages.items():
        page.goto(path)
        picture(page, f"{name}-{theme}")
        over = page.evaluate(OVERFLOW)
        if name.startswith("list"):
            over = max(over, page.evaluate(RESULTS_OVERFLOW))
        if over > 0:
            too_wide[name] = over

    assert too_wide == {}


def test_a_failed_task_is_requeued_by_the_button_of_its_page(page, rows, theme):
    page.goto(page_of(rows["failed"]))
    page.get_by_role("button", name="Requeue").click()
    page.get_by_label("Comment").fill("the name server is back")
    picture(page, f"confirmation-requeue-{theme}")
    assert page.evaluate(OVERFLOW) <= 0
    page.get_by_role("button", name="Requeue").click()
    picture(page, f"requeued-{theme}")

    page.get_by_text("Requeued: 1.").wait_for()
    rows["failed"].refresh_from_db()
    assert rows["failed"].status == "new"


def test_all_tasks_of_a_filter_are_deleted_by_the_menu_of_the_list(page, theme):
    page.goto(f"{TASKS}?status__exact=finished")
    page.locator("#action-toggle").check()
    page.locator("span.question a").click()
    page.locator("select[name=action]").select_option("delete_done")
    page.locator("button[name=index]").click()
    picture(page, f"confirmation-delete-{theme}")
    assert page.evaluate(OVERFLOW) <= 0
    page.get_by_role("button", name="Delete").click()

    page.get_by_text("Deleted: 60.").wait_for()
    assert not Task.objects.finished().exists()


def test_a_priority_out_of_range_is_refused_on_the_page(page, rows, theme):
    page.goto(page_of(rows["due"]))
    page.get_by_role("button", name="Change priority").click()
    page.get_by_label("Priority").fill("99999999999")
    page.get_by_role("button", name="Change priority").click()
    picture(page, f"confirmation-refused-{theme}")
    assert page.evaluate(OVERFLOW) <= 0
    page.get_by_label("Priority").fill("1")
    page.get_by_role("button", name="Change priority").click()

    page.get_by_text("Priority set to 1: 1.").wait_for()


def test_a_schedule_is_run_paused_and_resumed_by_the_buttons_of_its_page(page, schedules, theme):
    row = schedules["hand"]
    page.goto(page_of(row))
    page.get_by_role("button", name="Run now").click()
    picture(page, f"schedule-was-run-{theme}")
    assert page.evaluate(OVERFLOW) <= 0
    page.get_by_text("Schedule fetch orders: Enqueued task").wait_for()
    page.goto(page_of(row))
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Schedule fetch orders: Paused.").wait_for()
    page.goto(page_of(row))
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("Schedule fetch orders: Resumed.").wait_for()

    row.refresh_from_db()
    assert not row.paused
    assert Task.objects.get(pk=row.last_task_id).scheduled_for is not None


def test_a_wrong_schedule_is_refused_on_the_page_and_a_right_one_is_saved(page, schedules, theme):
    page.goto(f"{SCHEDULES}add/")
    page.locator("#id_name").fill("hourly")
    page.locator("#id_task").fill("Pass")
    page.locator("#id_cron").fill("61 * * * *")
    page.get_by_role("button", name="Save", exact=True).click()
    picture(page, f"schedule-refused-{theme}")
    assert page.evaluate(OVERFLOW) <= 0
    page.locator("#id_cron").fill("@hourly")
    page.get_by_role("button", name="Save", exact=True).click()

    page.get_by_text("was added successfully").wait_for()
    assert Schedule.objects.get(pk="hourly").cron == "@hourly"
