"""Schedules are run, paused and resumed by name."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_partisan import scheduling
from django_partisan.exceptions import UnknownQueue, UnknownSchedule, UnregisteredTask
from django_partisan.models import Schedule, Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.schedules.tick_record import MalformedRow
from django_partisan.sql.connection import execute
from django_partisan.sql.control import CONTROL_CHANNEL, decoded
from django_partisan.sql.listening import Listener
from django_partisan.telemetry.events.schedules import (
    ScheduleChanged,
    SchedulePaused,
    ScheduleResumed,
    ScheduleTicked,
)
from tests.support.events import RecordedEvents
from tests.support.schedules import (
    PERIOD,
    UNREADABLE,
    add_schedule,
    last_multiple,
    outcomes_of,
    periods,
    server_now,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Letter(BaseTaskProcessor):
    PRIORITY = 3

    def run(self) -> None:
        """Do nothing."""


def stored() -> Schedule:
    return Schedule.objects.get()


@override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}})
def test_a_schedule_is_run_now_whatever_its_ticks_and_its_pause(diary: RecordedEvents):
    before = add_schedule(paused=True, args=[1], kwargs={"to": "ada"}, expires_seconds=60, queue_name="mail")
    began = server_now()

    task_id = scheduling.run_now("nightly")

    task, row = Task.objects.get(), stored()
    assert task.pk == task_id
    assert (task.processor_class, task.queue_name, task.priority, task.status) == ("Letter", "mail", 3, "new")
    assert task.arguments == {"args": [1], "kwargs": {"to": "ada"}}
    assert task.scheduled_for is not None
    assert began <= task.scheduled_for <= server_now()
    assert task.expires_at == task.scheduled_for + timedelta(seconds=60)
    assert task.ready
    assert task.context == {
        "partisan.schedule": "nightly",
        "partisan.scheduled_for": task.scheduled_for.isoformat(),
    }
    assert (row.next_at, row.totals, row.last_at) == (before.next_at, {}, None)
    assert (row.last_task_id, row.recent_ticks[0]["task"]) == (task_id, task_id)
    [ticked] = diary.of(ScheduleTicked)
    assert (ticked.schedule, ticked.task_id, ticked.outcome) == ("nightly", task_id, "enqueued")


def test_a_duplicate_is_found_and_gets_the_later_expiry():
    add_schedule(expires_seconds=60)
    waiting = Letter().delay()
    Task.objects.update(expires_at=server_now())

    assert scheduling.run_now("nightly") == waiting.pk
    early = Task.objects.get()
    Schedule.objects.update(expires_seconds=None)
    scheduling.run_now("nightly")

    assert early.expires_at is not None
    assert early.expires_at > server_now() + timedelta(seconds=30)
    assert Task.objects.get().expires_at is None
    assert outcomes_of() == ["duplicate", "duplicate"]


@pytest.mark.parametrize(
    ("change", "is_run"),
    [
        ({}, False),
        ({"status": "in_process"}, False),
        ({"status": "finished"}, True),
        ({"status": "error"}, True),
        ({"expires_at": "past"}, True),
        ({"expires_at": "future"}, False),
    ],
)
def test_without_overlap_it_is_not_run_while_its_last_task_waits_or_runs(change, is_run):
    add_schedule(overlap=False)
    scheduling.run_now("nightly")
    moments = {"past": timedelta(hours=-1), "future": timedelta(hours=1)}
    Task.objects.update(
        **{key: server_now() + moments[value] if value in moments else value for key, value in change.items()}
    )

    assert bool(scheduling.run_now("nightly")) == is_run


def test_what_is_rolled_back_was_never_run(diary: RecordedEvents):
    add_schedule()

    with transaction.atomic():
        scheduling.run_now("nightly")
        transaction.set_rollback(True)

    assert not Task.objects.exists()
    assert not diary.of(ScheduleTicked)


def test_what_cannot_be_run_raises_what_delay_does():
    add_schedule("nobody's", task="Nobody")
    add_schedule("lost", queue_name="no such queue")

    with pytest.raises(UnregisteredTask, match="Nobody"):
        scheduling.run_now("nobody's")
    with pytest.raises(UnknownQueue, match="no such queue"):
        scheduling.run_now("lost")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (f"args = {UNREADABLE}", "args is JSON that Python cannot parse"),
        (f"kwargs = {UNREADABLE}", "kwargs is JSON that Python cannot parse"),
        ("recent_ticks = '7'", r"recent_ticks has an unexpected value: 7; .* Set it to \[\]"),
        (f"recent_ticks = {UNREADABLE}", r"recent_ticks is JSON .* Set it to \[\], for example"),
        (f"open_tick = {UNREADABLE}", "open_tick is JSON .* Set it to NULL, for example"),
        ("open_tick = '7'", "open_tick has an unexpected value: 7; .* Set it to NULL"),
        ("totals = '[]'", r"totals has an unexpected value: \[\]; .* Set it to {}"),
    ],
)
def test_a_malformed_row_is_not_run_and_the_column_is_named(change: str, word: str):
    add_schedule(args=[1])
    execute(connection, f"UPDATE django_partisan_schedule SET {change}")

    with pytest.raises(MalformedRow, match=word):
        scheduling.run_now("nightly")

    assert not Task.objects.exists()


IMPORTED_WHILE_FREE = """
from contextlib import closing
from dataclasses import replace
from django_partisan import registry
from django_partisan.sql.connection import execute, open_connection
with closing(open_connection("module")) as own:
    execute(own, "SELECT FROM django_partisan_schedule FOR UPDATE NOWAIT")
registry.add(replace(registry.definitions["Letter"], name="{}.run"))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module that can only be imported while no schedule is locked; it registers its function ``run``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"partisan_free_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(IMPORTED_WHILE_FREE.format(name))
    return name


def test_the_module_of_a_task_is_imported_before_its_schedule_is_locked(module: str):
    add_schedule(task=f"{module}.run")

    task_id = scheduling.run_now("nightly")

    assert Task.objects.get(pk=task_id or 0).processor_class == f"{module}.run"


def test_a_row_that_is_saved_is_locked_after_the_module_of_its_task_was_imported(module: str):
    row = add_schedule()
    row.task = f"{module}.run"

    row.save()

    assert stored().task == f"{module}.run"


@pytest.mark.parametrize(("origin", "fields"), [("database", ["comment"]), ("settings", None)])
def test_the_module_of_a_task_that_is_not_saved_is_not_imported(
    origin: str, fields: list[str] | None, module: str
):
    row = add_schedule(task=f"{module}.run", origin=origin)
    row.comment = "mind the gap"

    row.save(update_fields=fields)

    assert stored().comment == "mind the gap"
    assert module not in sys.modules


@pytest.mark.parametrize("act", [scheduling.run_now, scheduling.pause, scheduling.resume])
def test_an_unknown_schedule_is_named(act):
    with pytest.raises(UnknownSchedule, match="'weekly'"):
        act("weekly")


def test_a_pause_is_noted_once_and_its_comment_each_time(diary: RecordedEvents):
    add_schedule()

    assert scheduling.pause("nightly", "the server moves")
    assert not scheduling.pause("nightly", "it still moves")

    assert (stored().paused, stored().comment) == (True, "it still moves")
    assert diary.of(SchedulePaused) == [SchedulePaused("nightly", "the server moves")]


def test_after_a_pause_the_first_tick_is_the_first_one_from_then_on(diary: RecordedEvents):
    add_schedule(next_at=last_multiple(PERIOD) - periods(7), error="locked", failures=3)
    assert not scheduling.resume("nightly")
    scheduling.pause("nightly", "away")

    assert scheduling.resume("nightly")

    row = stored()
    assert (row.paused, row.comment, row.error, row.failures) == (False, "", "", 0)
    assert row.next_at == last_multiple(PERIOD) + periods(1)
    assert diary.of(ScheduleResumed) == [ScheduleResumed("nightly", row.next_at)]


def test_a_next_tick_that_python_cannot_read_is_replaced_when_the_schedule_is_paused_and_resumed():
    add_schedule()
    execute(connection, "UPDATE django_partisan_schedule SET next_at = '-infinity'")

    scheduling.pause("nightly")
    scheduling.resume("nightly")

    assert stored().next_at == last_multiple(PERIOD) + periods(1)


def test_managers_of_all_queues_are_notified_of_what_was_resumed(second: BaseDatabaseWrapper):
    add_schedule(paused=True)
    listener = Listener(second, CONTROL_CHANNEL)

    scheduling.resume("nightly")

    [payload] = wait_until(listener.take)[CONTROL_CHANNEL] or set()
    control = decoded(payload)
    assert control is not None
    assert (control.queue, control.look) == ("", "schedule")


def test_a_row_that_somebody_saves_is_a_change_if_its_definition_is_another_one(diary: RecordedEvents):
    row = Schedule(name="nightly", task="Letter", every=PERIOD)
    row.save()
    row.args = [1]
    row.save()
    row.comment = "by hand"
    row.save()

    changes = [(one.schedule, one.processor, one.origin, one.change) for one in diary.of(ScheduleChanged)]
    assert changes == [("nightly", "Letter", "database", change) for change in ("added", "changed")]
    assert diary.of(ScheduleChanged)[0].next_at == row.next_at


def test_in_immediate_mode_the_task_runs_after_the_commit(settings):
    settings.PARTISAN_IMMEDIATE = True
    add_schedule()

    scheduling.run_now("nightly")

    assert Task.objects.get().status == "finished"


def test_nothing_is_left_open_on_the_connection():
    add_schedule()
    scheduling.run_now("nightly")

    assert not connection.in_atomic_block
