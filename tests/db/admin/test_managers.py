"""The list of managers, and a manager's page."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_partisan.admin.runs import published_runs
from django_partisan.models import Task
from django_partisan.sql.connection import execute
from tests.support.admin import MANAGERS, TASKS, listed, make_manager, make_task, page_of, text
from tests.support.schedules import UNREADABLE

pytestmark = pytest.mark.django_db


def test_a_manager_is_alive_until_its_lease_runs_out(browser):
    alive = make_manager(host="alive")
    dead = make_manager(host="dead", heartbeat_at=timezone.now() - timedelta(seconds=31))

    rows = browser.get(MANAGERS).context["cl"]
    states = {row.pk: rows.model_admin.is_alive(row) for row in rows.result_list}

    assert states == {alive.pk: True, dead.pk: False}


@pytest.mark.parametrize(
    ("state", "role"),
    [(None, "manager"), (["worker"], "manager"), ({"role": "worker"}, "worker without its manager")],
)
def test_a_worker_without_its_manager_is_not_listed_as_a_manager(state, role, browser):
    row = make_manager(state=state)

    assert f'field-role">{role}<' in text(browser, MANAGERS)
    assert f'readonly">{role}<' in text(browser, page_of(row))


def test_a_manager_leads_to_the_tasks_it_holds(browser):
    manager = make_manager()
    held = make_task(status=Task.STATUS_IN_PROCESS, claimed_by=manager.pk)
    make_task(status=Task.STATUS_FINISHED, claimed_by=manager.pk)
    query = f"?status__exact=in_process&claimed_by__exact={manager.pk}"

    page = text(browser, page_of(manager))

    assert f'{TASKS}{query.replace("&", "&amp;")}">1</a>' in page
    assert listed(browser, query) == [held.pk]


@pytest.mark.parametrize("column", ["state", "schedules"])
def test_a_manager_is_shown_whatever_json_sql_has_written(browser, column):
    manager = make_manager(queue_name="mail")
    execute(connection, f"UPDATE django_partisan_manager SET {column} = {UNREADABLE}")

    assert "mail" in text(browser, MANAGERS)
    assert "mail" in text(browser, page_of(manager))


def test_a_run_of_any_length_is_shown(browser):
    make_manager(state={"runs": [{"task": 1, "processor": "Letter", "seconds": 10**400}]})

    assert "Letter" in text(browser, MANAGERS)


AT = "2026-11-24T07:03:12.345+00:00"


def test_a_manager_shows_what_it_has_published_of_its_runs_the_longest_first(browser):
    task = make_task(status="in_process")
    short = {"task": 1, "processor": "Letter", "pid": 18, "worker": 0, "seconds": 0.25}
    long = {"task": task.pk, "processor": "<b>Picture</b>", "pid": 19, "worker": 1, "seconds": 75.0}
    manager = make_manager(state={"v": 1, "runs": [short, long], "at": AT})

    with override_settings(TIME_ZONE="UTC"):
        page = text(browser, page_of(manager)).replace("<wbr>", "")

    rows = re.findall(r"<tr><td>.*?</tr>", page)
    assert f'<a href="{page_of(task)}">{task.pk}</a></td><td>&lt;b&gt;Picture&lt;/b&gt;</td>' in rows[0]
    assert "<td>1\xa0min 15\xa0s</td><td>19</td><td>1</td>" in rows[0]
    assert "<td>250\xa0ms</td><td>18</td><td>0</td>" in rows[1]
    assert "2026-11-24 07:03:12.345" in page
    listing = text(browser, MANAGERS).replace("<wbr>", "")
    assert '2<span class="partisan-below">&lt;b&gt;Picture&lt;/b&gt; for 1\xa0min 15\xa0s</span>' in listing


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {},
        {"role": "worker"},
        {"runs": None, "at": 7},
        {"runs": [3, {}, {"task": "x"}], "at": "never"},
        {"runs": [], "at": "2026-13-45T00:00:00"},
    ],
)
def test_a_manager_that_publishes_nothing_that_can_be_read_shows_none(browser, state):
    manager = make_manager(state=state)

    assert published_runs(manager) == []
    assert "<tr><td>" not in text(browser, page_of(manager))
    assert text(browser, MANAGERS)


def test_a_run_without_a_time_is_shown_all_the_same(browser):
    manager = make_manager(state={"runs": [{"task": 7}]})

    assert published_runs(manager) == [(7, "", 0.0, None, None)]
    assert "<td>0\xa0ms</td><td></td><td></td>" in text(browser, page_of(manager))
