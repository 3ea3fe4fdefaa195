"""The command that lists schedules, shows their ticks, and runs, pauses and resumes them."""

import json
from datetime import datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now, override

from django_partisan.models import Schedule, Task
from django_partisan.sql.connection import execute
from tests.support.schedule_rows import made, of_settings, stored
from tests.support.schedules import UNREADABLE

pytestmark = pytest.mark.django_db

TICK = datetime(2026, 11, 30, 3, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _utc():
    with override("UTC"):
        yield


def run(*arguments: str, err: StringIO | None = None) -> list[str]:
    out = StringIO()
    call_command("partisan_schedules", *arguments, stdout=out, stderr=err or StringIO(), no_color=True)
    return out.getvalue().splitlines()


def objects(*arguments: str) -> Any:
    return json.loads("\n".join(run(*arguments, "--format", "json")))


def ticked(**columns: Any) -> None:
    """Set the rows to their state after a tick."""
    recent = [{"at": TICK.isoformat(), "outcome": "enqueued", "task": 4711, "ended": "completed"}]
    Schedule.objects.update(**{"recent_ticks": recent, "last_at": TICK, "totals": {"enqueued": 1}, **columns})


def test_without_schedules_it_says_so():
    assert run() == ["There are no schedules."]
    assert objects() == []


def test_a_row_that_only_sql_can_have_written_is_shown_beside_the_others():
    made(name="nightly")
    made(name="odd", every=300)
    ticked(next_at=TICK)
    execute(
        connection,
        "UPDATE django_partisan_schedule SET args = '7', every = 0, catch_up = 'never', recent_ticks = '[7]',"
        " error = 'catch_up is odd' WHERE name = 'odd'",
    )

    lines, [_, found] = run(), objects()

    assert "  error: catch_up is odd" in lines
    assert (found["args"], found["every"], found["catch_up"], found["last_at"]) == (7, 0, "never", None)


def test_the_table_shows_when_each_ticks_what_became_of_it_and_what_is_wrong():
    made(name="nightly", every=None, cron="0 3 * * *", time_zone="Europe/Berlin")
    made(name="often", every=300)
    ticked(next_at=TICK + timedelta(days=1))
    Schedule.objects.filter(name="often").update(
        paused=True, comment="they move", error="no\nluck", recent_ticks=[]
    )

    lines = run()

    assert lines == [
        "Schedule              When               Next tick           Last tick",
        "nightly               0 3 * * *          2026-12-01 03:00:00 2026-11-30 03:00:00",
        "  Report, from database, Europe/Berlin",
        "  last: enqueued, task 4711, completed",
        "often                 every 5 min        paused              -",
        "  Report, from database",
        "  paused: they move",
        "  error: no luck",
    ]


def test_what_is_of_the_settings_is_shown_whether_or_not_a_manager_has_seen_it(settings: Any):
    of_settings(name="gone", stopped_at=now())
    made(name="both")
    Schedule.objects.filter(name="both").update(
        paused=True, recent_ticks=[{"at": TICK.isoformat(), "outcome": "missed"}]
    )
    of_settings(name="seen")
    settings.PARTISAN_SCHEDULES = {name: {"task": "Report", "every": 60} for name in ("both", "new", "seen")}

    lines = run()

    read_schedule = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert read_schedule == ["Schedule", "both", "gone", "new", "seen"]
    assert "  no live manager has it in its settings" in lines
    assert "  no manager has seen it yet" in lines
    assert "  the settings also define this schedule; this row, created by hand, is used" in lines
    assert "  last: missed" in lines
    assert "  paused" in lines
    assert {one["name"]: one["state"] for one in objects()} == {
        "both": "paused",
        "gone": "stopped",
        "new": "new",
        "seen": "active",
    }
    assert [one["name"] for one in objects() if one["hides_settings"]] == ["both"]


def test_json_has_one_object_for_each_with_moments_that_have_an_offset():
    made(args=[2027])
    made(name="other", task="Cleanup", kwargs={"password": "secret"})
    ticked(next_at=TICK + timedelta(days=1))

    first, second = objects()

    assert first == {
        "name": "nightly", "task": "Report", "cron": None, "every": 60, "args": [2027], "kwargs": {},
        "queue_name": None, "priority": None, "time_zone": None, "catch_up": "one", "overlap": True,
        "expires_seconds": None, "origin": "database", "state": "active", "hides_settings": False,
        "next_at": "2026-12-01T03:00:00+00:00", "last_at": "2026-11-30T03:00:00+00:00",
        "last_outcome": "enqueued", "last_task": 4711, "last_ended": "completed", "paused": False,
        "comment": "", "error": "", "totals": {"enqueued": 1},
    }  # fmt: skip
    assert second["kwargs"] == {"password": "[redacted]"}


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo")
def test_moments_have_an_offset_where_django_uses_none():
    made(every=60)
    execute(connection, "UPDATE django_partisan_schedule SET next_at = '2026-12-01 03:00Z'")

    [found] = objects()

    assert found["next_at"] == "2026-12-01T12:00:00+09:00"


def test_wrong_schedules_of_the_settings_hide_no_row(settings: Any):
    made()
    settings.PARTISAN_SCHEDULES = {"wrong": {}}
    err = StringIO()

    assert len(run(err=err)) == 3
    assert "PARTISAN_SCHEDULES['wrong']" in err.getvalue()
    run("--pause", "nightly")
    assert stored().paused


def test_the_ticks_to_come_are_shown_in_the_time_zone_of_the_schedule():
    made(every=None, cron="30 2 * * *", time_zone="Europe/Berlin")
    before = list(Schedule.objects.values())
    asked = ("--upcoming", "nightly", "--count", "3", "--from", "2027-03-27T12:00+01:00")

    assert run(*asked) == [
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:30:00+02:00",
        "2027-03-30T02:30:00+02:00",
    ]
    assert objects(*asked) == run(*asked)
    assert len(run("--upcoming", "nightly")) == 5
    assert list(Schedule.objects.values()) == before


def test_the_ticks_of_a_schedule_that_no_manager_has_seen_follow_from_the_settings(settings: Any):
    settings.PARTISAN_SCHEDULES = {"hourly": {"task": "Report", "every": timedelta(hours=1)}}

    assert run("--upcoming", "hourly", "--count", "1", "--from", "2026-11-30") == [
        "2026-11-30T01:00:00+00:00"
    ]
    for option in ("--run", "--pause", "--resume"):
        with pytest.raises(CommandError, match="'hourly' is in the settings, but no manager has seen it"):
            run(option, "hourly")


@pytest.mark.parametrize("tick", [{}, {"at": None}, {"at": "noon"}, {"at": 5}])
def test_a_tick_without_a_moment_is_shown_without_it(tick: dict[str, Any]):
    made()
    Schedule.objects.update(recent_ticks=[{"outcome": "enqueued", "task": 4711, **tick}])

    assert run()[3] == "  last: enqueued, task 4711"
    assert objects()[0]["last_at"] is None


@pytest.mark.parametrize("option", ["--upcoming", "--run", "--pause", "--resume"])
def test_no_other_row_is_read_than_that_of_the_name(option: str):
    for number in range(3):
        made(name=f"other-{number}")
    row = made()

    with CaptureQueriesContext(connection) as queries:
        run(option, row.name)

    reading = [one["sql"] for one in queries if 'FROM "django_partisan_schedule"' in one["sql"]]
    assert reading
    assert [sql for sql in reading if "'nightly'" not in sql] == []


def test_a_schedule_is_run_now():
    made()

    [said] = run("--run", "nightly")

    task = Task.objects.get()
    assert said == f"Task {task.pk} of schedule 'nightly' is enqueued."
    assert task.processor_class == "Report"
    assert task.scheduled_for is not None


@pytest.mark.parametrize("column", ["args", "recent_ticks"])
def test_a_row_with_json_that_python_cannot_read_is_listed_and_not_run(column: str):
    made(name="nightly")
    made(name="odd")
    execute(connection, f"UPDATE django_partisan_schedule SET {column} = {UNREADABLE} WHERE name = 'odd'")

    with pytest.raises(CommandError, match=f"{column} is JSON that Python cannot parse"):
        run("--run", "odd")

    assert [one["name"] for one in objects()] == ["nightly", "odd"]
    assert not Task.objects.exists()
    assert run("--pause", "odd") == ["Paused schedule 'odd'."]
    assert run("--resume", "odd")[0].startswith("Resumed schedule 'odd'")


def test_a_schedule_that_must_not_overlap_is_not_run_while_its_task_waits():
    made(overlap=False)
    run("--run", "nightly")

    [said] = run("--run", "nightly")

    assert said == "Schedule 'nightly' does not overlap, and its last task has not ended; enqueued nothing."
    assert Task.objects.count() == 1


def test_a_schedule_is_paused_and_resumed():
    made(every=None, cron="0 3 1 1 *")

    assert run("--pause", "nightly", "--comment", "they move") == ["Paused schedule 'nightly'."]
    assert (stored().paused, stored().comment) == (True, "they move")
    [said] = run("--resume", "nightly")

    assert said.startswith("Resumed schedule 'nightly'; next tick 20")
    assert not stored().paused


def test_a_schedule_without_a_next_tick_can_be_resumed():
    of_settings(stopped_at=now(), paused=True)

    assert run("--resume", "nightly") == ["Resumed schedule 'nightly'."]


@pytest.mark.parametrize("option", ["--upcoming", "--run", "--pause", "--resume"])
@pytest.mark.parametrize(
    ("name", "remedy"), [("nighlty", "Did you mean 'nightly'?"), ("x", "Known: nightly.")]
)
def test_an_unknown_name_is_an_error_that_names_it(option: str, name: str, remedy: str):
    made()

    with pytest.raises(CommandError) as refusal:
        run(option, name)

    assert str(refusal.value) == f"There is no schedule {name!r}. {remedy}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "3"], "--count and --from need --upcoming NAME"),
        (["--run", "nightly", "--from", "2026-11-30"], "--count and --from need"),
        (["--comment", "x"], "--comment needs --pause NAME"),
        (["--pause", "nightly", "--format", "json"], "--format json works only for the list"),
        (["--run", "nightly", "--pause", "nightly"], "not allowed with"),
        (["--upcoming", "nightly", "--count", "0"], "'0' is not a number from 1 to 10000"),
        (["--upcoming", "nightly", "--count", "x"], "'x' is not a number"),
        (["--upcoming", "nightly", "--from", "soon"], "'soon' is not a moment"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(arguments: list[str], message: str):
    made()

    with pytest.raises(CommandError, match=message):
        run(*arguments)


def test_a_row_whose_definition_was_broken_is_named():
    made(every=None, cron="@daily")
    Schedule.objects.update(cron="0 25 * * *")

    with pytest.raises(CommandError, match="The hour field of '0 25"):
        run("--upcoming", "nightly")
    assert len(run()) == 3


def test_a_database_that_is_not_migrated_is_named():
    execute(connection, "ALTER TABLE django_partisan_schedule RENAME TO elsewhere")

    with pytest.raises(CommandError, match=r": relation .* Run: manage.py migrate django_partisan$"):
        run()
