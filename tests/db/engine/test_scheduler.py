"""A manager enqueues the tasks of due ticks, and a failing schedule does not delay others.

``test_tick_batch`` tests a single batch.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone

from django_partisan import registry, scheduling
from django_partisan.models import ManagerLease, Schedule, Task
from django_partisan.pausing import pause
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.schedules import (
    ScheduleFailed,
    ScheduleMissed,
    ScheduleOperationFailed,
    ScheduleSkipped,
    ScheduleTicked,
)
from tests.db.engine.manager_harness import Gate, ManagerHarness
from tests.support.database import open_transaction
from tests.support.events import RecordedEvents
from tests.support.rows import lock_of
from tests.support.schedule_rows import stored
from tests.support.schedules import PERIOD, add_schedule, last_multiple, outcomes_of, periods, server_now
from tests.support.triggers import SCHEDULES, refusing, trigger
from tests.support.waiting import wait_until

# A worker closes all subscribers of its process when it ends: only those of the test may exist.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers", "gate")]

SEEN: list[Any] = []
TO_BOB = "NEW.arguments #>> '{args,0}' = 'bob'"


class Letter(BaseTaskProcessor):
    def run(self) -> None:
        SEEN.append(self.task.scheduled_for)


class Many(BaseTaskProcessor):
    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        """Do nothing."""


@pytest.fixture
def gate(open_harness: object) -> Iterator[Gate]:
    made = Gate()
    wait = type("Wait", (BaseTaskProcessor,), {"run": lambda self: made.wait()})
    for processor in (Letter, Many, wait):
        registry.register(processor)
    SEEN.clear()
    yield made
    made.open.set()


def has_ticked(*names: str) -> bool:
    return all(outcomes_of(name) for name in names)


def emitted(harness: ManagerHarness, events: RecordedEvents, kind: type[Event]) -> list[Any]:
    """Return the events of a kind as soon as there are any; they are emitted after the commit."""
    harness.turn_until(lambda: events.of(kind))
    return events.of(kind)


def fails_like(number: int) -> bool:
    return Schedule.objects.exclude(error="").count() == number


def test_a_due_tick_is_enqueued_and_run_and_the_task_knows_its_moment(
    open_harness, recorded_events: RecordedEvents
):
    tick = last_multiple(PERIOD)
    add_schedule(next_at=tick)
    harness = open_harness()

    harness.turn_until(lambda: SEEN)

    row, task = stored(), Task.objects.get()
    assert [tick] == SEEN
    assert (task.scheduled_for, row.last_at, row.next_at) == (tick, tick, tick + periods(1))
    assert row.totals == {"enqueued": 1, "duplicate": 0, "overlap": 0, "missed": 0}
    assert row.recent_ticks == [{"at": tick.isoformat(), "task": task.pk, "outcome": "enqueued"}]
    assert row.open_tick == {"at": tick.isoformat(), "task": task.pk}
    [ticked] = emitted(harness, recorded_events, ScheduleTicked)
    assert (ticked.schedule, ticked.scheduled_for, ticked.task_id) == ("nightly", tick, task.pk)
    assert row.lateness_seconds == pytest.approx(ticked.lateness_seconds)


def test_a_schedule_that_ticks_often_is_served_at_each_tick_while_nothing_notifies(open_harness):
    add_schedule(every=1, next_at=server_now() + timedelta(seconds=1), task="Many")
    harness = open_harness(listen=False, lease_seconds=3000)

    harness.turn_until(lambda: len(outcomes_of()) >= 3)

    moments = [tick["at"] for tick in stored().recent_ticks]
    assert len(set(moments)) == len(moments)
    assert stored().totals["enqueued"] == Task.objects.count() >= 3


def test_a_change_is_seen_when_it_is_notified(open_harness):
    harness = open_harness(lease_seconds=3000)
    harness.turn_until(lambda: ManagerLease.objects.filter(sleeping=True))

    add_schedule()
    scheduling.notify_managers(connection)

    harness.turn_until(lambda: has_ticked("nightly"))


def test_without_a_notification_a_change_is_seen_with_a_heartbeat(open_harness):
    harness = open_harness(listen=False, lease_seconds=3)
    harness.turn_until(lambda: ManagerLease.objects.filter(sleeping=True) or harness.is_quiet)

    add_schedule()

    harness.turn_until(lambda: has_ticked("nightly"))


def test_ticks_go_on_while_workers_are_busy_the_queue_is_paused_and_the_manager_drains(
    open_harness, gate: Gate
):
    harness = open_harness(lease_seconds=3)
    registry.definitions["Wait"].source().delay()
    harness.turn_until(gate.begun.is_set)
    add_schedule("busy")
    harness.turn_until(lambda: has_ticked("busy"))

    pause("default")
    add_schedule("paused", task="Many")
    harness.turn_until(lambda: has_ticked("paused"))
    harness.manager.stop()
    harness.turn_until(lambda: harness.snapshot().draining)
    add_schedule("draining", task="Many", args=[1])
    harness.turn_until(lambda: has_ticked("draining"))

    assert Task.objects.filter(status="new").count() == 3


@override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}})
def test_a_queue_without_a_manager_gets_its_tasks_and_they_wait(open_harness):
    add_schedule(queue_name="mail")
    harness = open_harness()

    harness.turn_until(lambda: has_ticked("nightly"))

    assert Task.objects.get().queue_name == "mail"


def test_a_paused_or_stopped_schedule_has_no_ticks(open_harness):
    add_schedule("paused", paused=True)
    add_schedule("stopped", stopped_at=timezone.now())
    add_schedule("nightly", args=[1])
    harness = open_harness()

    harness.turn_until(lambda: has_ticked("nightly"))

    assert [task.arguments["args"] for task in Task.objects.all()] == [[1]]


def test_missed_ticks_are_counted_and_the_newest_is_enqueued(open_harness, recorded_events: RecordedEvents):
    tick = last_multiple(PERIOD)
    add_schedule(next_at=tick - periods(3))
    harness = open_harness()

    harness.turn_until(lambda: has_ticked("nightly"))

    assert outcomes_of() == ["missed", "missed", "missed", "enqueued"]
    assert stored().totals == {"enqueued": 1, "duplicate": 0, "overlap": 0, "missed": 3}
    [missed] = emitted(harness, recorded_events, ScheduleMissed)
    assert (missed.number, missed.newest_at) == (3, tick - periods(1))


def test_without_overlap_ticks_are_skipped_while_the_last_task_runs(
    open_harness, gate: Gate, recorded_events: RecordedEvents
):
    add_schedule(task="Wait", overlap=False)
    harness = open_harness(lease_seconds=3)
    harness.turn_until(gate.begun.is_set)

    Schedule.objects.update(next_at=last_multiple(PERIOD))
    harness.turn_until(lambda: outcomes_of() == ["enqueued", "overlap"])
    gate.open.set()
    harness.turn_until(lambda: Task.objects.filter(status="finished"))
    Schedule.objects.update(next_at=last_multiple(PERIOD))
    harness.turn_until(lambda: outcomes_of() == ["enqueued", "overlap", "enqueued"])

    [skipped] = emitted(harness, recorded_events, ScheduleSkipped)
    assert skipped.task_id == stored().recent_ticks[0]["task"]


def test_a_locked_duplicate_delays_no_other_schedule_and_is_tried_again(
    open_harness, recorded_events: RecordedEvents
):
    pause("default")
    names = [f"s{number:02}" for number in range(30)]
    with open_transaction(lock_of(Letter(13).delay().pk)):
        for number, name in enumerate(names):
            add_schedule(name, args=[number])
        harness = open_harness()

        harness.turn_until(lambda: fails_like(1))
        harness.turn_until(lambda: has_ticked(*(name for name in names if name != "s13")))

        assert not outcomes_of("s13")
        assert "has locked the waiting task" in stored("s13").error
    harness.turn_until(lambda: outcomes_of("s13") == ["duplicate"])
    assert (stored("s13").error, stored("s13").failures, stored("s13").retry_at) == ("", 0, None)
    [failed] = emitted(harness, recorded_events, ScheduleFailed)
    assert failed.schedule == "s13"


def test_a_lock_that_is_met_by_the_insert_is_an_error_of_the_row(open_harness):
    add_schedule("a", args=[0])
    add_schedule("z", args=[1])
    with open_transaction("LOCK TABLE django_partisan_task IN SHARE ROW EXCLUSIVE MODE"):
        harness = open_harness()
        harness.turn_until(lambda: fails_like(2))
        assert "has locked the waiting task" in stored("a").error

    harness.turn_until(lambda: has_ticked("a", "z"))


def test_a_trigger_that_raises_delays_no_other_schedule(open_harness, recorded_events: RecordedEvents):
    with refusing("INSERT", TO_BOB, message="no letters to bob"):
        for name in ("ada", "bob", "eve"):
            add_schedule(name, args=[name])
        harness = open_harness()

        harness.turn_until(lambda: has_ticked("ada", "eve") and fails_like(1))
        harness.turn_until(lambda: stored("bob").failures >= 2)

        row = stored("bob")
        assert row.error.startswith("no letters to bob")
        assert row.retry_at is not None
        assert row.next_at == last_multiple(PERIOD)
        assert len(emitted(harness, recorded_events, ScheduleFailed)) == 1


def test_a_trigger_that_drops_a_task_delays_no_other_schedule(open_harness):
    with trigger("INSERT", "RETURN NULL;", TO_BOB):
        for name in ("ada", "bob", "eve"):
            add_schedule(name, args=[name])
        harness = open_harness()

        harness.turn_until(lambda: has_ticked("ada", "eve"))
        harness.turn_until(lambda: stored("bob").failures >= 2)

    harness.turn_until(lambda: has_ticked("bob"))
    assert stored("bob").totals["enqueued"] == 1


def test_what_the_driver_adds_to_a_message_is_neither_stored_nor_another_error(
    open_harness, recorded_events: RecordedEvents
):
    body = "RAISE EXCEPTION 'no letters %', clock_timestamp() USING DETAIL = 'secret';"
    with trigger("INSERT", body):
        add_schedule()
        harness = open_harness()
        harness.turn_until(lambda: stored().failures >= 2)

    [failed] = emitted(harness, recorded_events, ScheduleFailed)
    assert stored().error.endswith("(P0001)")
    assert "secret" not in f"{stored().error} {failed.error}"


def a_minute_later(harness: ManagerHarness) -> None:
    """Make the manager believe that it set schedules aside a minute ago."""
    deferred = harness.manager._parts.schedules._scheduler._deferred
    deferred._since = {name: since - 60 for name, since in deferred._since.items()}
    deferred.forget_at = 0.0


def is_aside(harness: ManagerHarness, *names: str) -> bool:
    return {*names} == harness.manager._parts.schedules._scheduler._deferred._hidden


def test_rows_at_fault_here_are_left_to_others_for_a_minute(open_harness, recorded_events: RecordedEvents):
    add_schedule("zone", cron="0 3 * * *", time_zone="Nowhere", next_at=last_multiple(PERIOD))
    add_schedule("queue", queue_name="unheard of")
    add_schedule("nightly")
    harness = open_harness()
    harness.turn_until(lambda: has_ticked("nightly") and is_aside(harness, "zone", "queue"))
    assert fails_like(0)

    a_minute_later(harness)
    harness.turn_until(lambda: fails_like(2))

    for name, word in (("queue", "unheard of"), ("zone", "Nowhere")):
        assert word in stored(name).error
        assert (stored(name).failures, stored(name).retry_at) == (0, None)
    emitted(harness, recorded_events, ScheduleFailed)
    a_minute_later(harness)
    harness.turn_until(lambda: is_aside(harness, "zone", "queue"))
    failed = [one.schedule for one in recorded_events.of(ScheduleFailed)]
    assert sorted(failed) == ["queue", "zone"]


def test_a_task_that_no_manager_knows_is_an_error_after_a_minute(
    open_harness, recorded_events: RecordedEvents
):
    add_schedule("soon", task="Nobody", every=600, next_at=server_now() - timedelta(seconds=1))
    add_schedule("late", task="Nobody", every=600, next_at=server_now() - timedelta(seconds=161))
    add_schedule("nightly")
    harness = open_harness()
    harness.turn_until(lambda: has_ticked("nightly") and is_aside(harness, "late", "soon"))
    assert fails_like(0)  # a manager that has the processor may be about to start

    a_minute_later(harness)
    harness.turn_until(lambda: stored("late").error)

    assert "'Nobody'" in stored("late").error
    assert (stored("soon").error, stored("soon").failures) == ("", 0)
    assert [one.schedule for one in emitted(harness, recorded_events, ScheduleFailed)] == ["late"]


def test_a_tick_is_enqueued_by_the_manager_that_knows_its_task(open_harness):
    add_schedule(task="Late", next_at=last_multiple(60) - timedelta(seconds=120), every=60)
    harness = open_harness(lease_seconds=3)
    harness.turn_until(lambda: is_aside(harness, "nightly"))
    a_minute_later(harness)
    harness.turn_until(lambda: stored().error)

    registry.register(type("Late", (BaseTaskProcessor,), {"run": lambda self: None}))
    scheduling.notify_managers(connection)
    harness.turn_until(lambda: has_ticked("nightly"))

    assert stored().error == ""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_module_that_cannot_be_imported_delays_no_other_schedule(open_harness, modules: Path):
    broken = "class Broken(BaseException):\n    def __str__(self): raise ValueError\nraise Broken"
    for name, code in (
        ("mute", broken),
        ("odd", r"raise ValueError('nul \0, surrogate \ud800')"),
        ("exits", "raise SystemExit('stopped')"),
        ("needy", "import partisan_needs_this"),
    ):
        (modules / f"partisan_{name}.py").write_text(code)
        add_schedule(name, task=f"partisan_{name}.run")
    add_schedule("nowhere", task="partisan_nowhere.run")
    add_schedule("nightly")
    harness = open_harness()
    scheduler = harness.manager._parts.schedules._scheduler
    harness.turn_until(lambda: has_ticked("nightly") and len(scheduler._deferred._imported) == 5)
    harness.turn_until(lambda: len(scheduler._deferred._hidden) == 5)

    a_minute_later(harness)
    harness.turn_until(lambda: fails_like(5))

    assert "Broken" in stored("mute").error
    assert "nul , surrogate ?" in stored("odd").error
    assert stored("exits").error == "stopped (SystemExit)"
    assert "partisan_needs_this" in stored("needy").error
    assert "'partisan_nowhere.run'" in stored("nowhere").error


def test_a_module_that_takes_long_to_import_delays_no_other_schedule(open_harness, modules: Path):
    gate = modules / "open"
    (modules / "partisan_slow.py").write_text(
        f"""import os, time
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
from tests.db.engine.test_scheduler import Letter
from dataclasses import replace
from django_partisan import registry
registry.add(replace(registry.definitions["Letter"], name="partisan_slow.run"))
"""
    )
    add_schedule("slow", task="partisan_slow.run", next_at=last_multiple(PERIOD) - timedelta(seconds=1))
    add_schedule("nightly")
    harness = open_harness()
    harness.turn_until(lambda: has_ticked("nightly"))
    assert not has_ticked("slow")

    gate.touch()

    harness.turn_until(lambda: has_ticked("slow"))


def test_a_row_into_which_not_even_its_error_can_be_written_delays_no_other(
    open_harness, recorded_events: RecordedEvents
):
    for number, name in enumerate(("a", "b", "c")):
        add_schedule(name, args=[number], next_at=last_multiple(PERIOD) - periods(3 - number))
    with refusing("UPDATE", "OLD.name = 'a'", message="frozen", table=SCHEDULES):
        harness = open_harness()
        harness.turn_until(lambda: has_ticked("b", "c") and is_aside(harness, "a"))
        [failed] = emitted(harness, recorded_events, ScheduleOperationFailed)

    assert (failed.schedule, failed.operation) == ("a", "enqueue")
    assert "frozen" in failed.error.message
    assert not has_ticked("a")


def test_what_is_committed_is_emitted_once_though_an_error_follows(
    open_harness, recorded_events: RecordedEvents
):
    add_schedule()
    add_schedule("soon", args=[1], every=3600, next_at=server_now() + timedelta(hours=1))
    harness = open_harness()
    chores = harness.manager._threads["chores"]._session
    harness.turn_until(lambda: harness.is_quiet)
    failed: list[str] = []

    def interrupt(run_it: Any, text: str, *args: Any) -> Any:
        if "SELECT extract(epoch FROM min(" in text and not failed:
            failed.append(text)
            raise OperationalError("the connection is lost")
        return run_it(text, *args)

    with chores.connection.execute_wrapper(interrupt):
        add_schedule("nightly2", args=[2])
        scheduling.notify_managers(connection)
        harness.turn_until(lambda: failed and has_ticked("nightly2"))
        harness.turn_until(lambda: len(recorded_events.of(ScheduleTicked)) >= 2)

    ticked = [one.schedule for one in recorded_events.of(ScheduleTicked)]
    assert sorted(ticked) == ["nightly", "nightly2"]


def test_an_error_that_nobody_expected_does_not_end_the_manager(
    open_harness, recorded_events: RecordedEvents
):
    harness = open_harness()
    scheduler = harness.manager._parts.schedules._scheduler

    for _ in range(2):
        scheduler._on_made(ValueError("odd"))
    add_schedule()
    harness.turn_until(lambda: has_ticked("nightly"))

    [failed] = recorded_events.of(ScheduleOperationFailed)
    assert (failed.operation, failed.error.message) == ("enqueue", "odd (ValueError)")


def test_a_manager_goes_on_after_its_connection_was_lost(open_harness):
    harness = open_harness(lease_seconds=3)
    harness.turn_until(lambda: harness.is_quiet)
    harness.cut_off("chores")
    add_schedule()
    scheduling.notify_managers(connection)
    harness.turn_until(lambda: harness.manager._parts.outage.is_on)

    harness.reconnect("chores")

    harness.turn_until(lambda: has_ticked("nightly"))
    wait_until(lambda: Task.objects.count() == 1)
