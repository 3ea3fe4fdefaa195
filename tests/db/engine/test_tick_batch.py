"""What one batch of ticks enqueues, and what it writes to the rows of failing schedules."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, Error, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import registry, scheduling
from django_partisan.engine.manager.deferred_schedules import Deferred
from django_partisan.engine.manager.tick_batch import make_batch
from django_partisan.models import Schedule, Task
from django_partisan.sql import leasing
from django_partisan.sql import scheduling as sql
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.schedule_errors import write_failed, write_fault
from tests.support.database import open_transaction
from tests.support.registry import Idle
from tests.support.rows import lock_of
from tests.support.schedule_rows import stored
from tests.support.schedules import (
    PERIOD,
    UNREADABLE,
    add_schedule,
    last_multiple,
    outcomes_of,
    periods,
    server_now,
)
from tests.support.triggers import SCHEDULES, refusing

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers")]


class Letter(Idle):
    """A processor with unique tasks."""


class Many(Idle):
    UNIQUE_FOR_PARAMS = False


@pytest.fixture(autouse=True)
def processors(registry_as_it_was: None) -> None:
    registry.register(Letter)
    registry.register(Many)


@pytest.fixture
def own(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A connection like that of a manager's chores."""
    with closing(open_connection("test")) as made:
        yield made


def test_schedules_with_the_same_task_in_one_batch_have_one_task_with_the_latest_expiry(
    own: BaseDatabaseWrapper,
):
    for number, seconds in enumerate((200_000, 400_000, 300_000)):
        add_schedule(f"s{number}", expires_seconds=seconds)

    make_batch(own, "default")

    [task] = Task.objects.all()
    assert sorted(outcomes_of(f"s{number}") for number in range(3)) == [
        ["duplicate"],
        ["duplicate"],
        ["enqueued"],
    ]
    assert {stored(f"s{number}").last_task_id for number in range(3)} == {task.pk}
    assert task.expires_at == last_multiple(PERIOD) + timedelta(seconds=400_000)


def test_without_an_expiry_of_its_own_a_schedule_has_that_of_its_task(own: BaseDatabaseWrapper):
    registry.register(type("Brief", (Idle,), {"EXPIRES_SECONDS": 60}))
    tick = last_multiple(PERIOD)
    add_schedule("late", task="Brief", next_at=tick - periods(1))
    add_schedule("own", task="Brief", args=[1], expires_seconds=200_000)

    make_batch(own, "default")

    assert outcomes_of("late")[0] == "missed"
    assert Task.objects.get(arguments__args=[1]).expires_at == tick + timedelta(seconds=200_000)


def test_many_locked_duplicates_delay_no_other_schedule(own: BaseDatabaseWrapper):
    for number in range(30):
        add_schedule(f"s{number:02}", args=[0], queue_name="default")
    add_schedule("z", args=[1])

    with open_transaction(lock_of(Letter(0).delay().pk)):
        batch = make_batch(own, "default")

    assert [one.schedule for one in batch.ticked] == ["z"]
    assert len(batch.failed) == 30


def error_of(name: str) -> str:
    """Return a row's error, even if the model cannot read the row."""
    [[error]] = fetch_all(connection, "SELECT error FROM django_partisan_schedule WHERE name = %s", (name,))
    return str(error)


def spoil(name: str, change: str) -> None:
    """Write values to a row that neither managers nor ``save()`` would write."""
    execute(connection, f"UPDATE django_partisan_schedule SET {change} WHERE name = %s", (name,))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("args = '5'", "args is int"),
        ("args = '\"secret\"'", "args is str"),
        ("args = '{\"a\": 1}'", "args is dict"),
        ('kwargs = \'[["to", "secret"]]\'', "kwargs is list"),
        ("every = 0", "every is 0"),
        ("every = NULL", "cron and every"),
        ("cron = '* * * * *'", "cron and every"),
        ("catch_up = 'never'", "catch_up is 'never'"),
        ("expires_seconds = 'NaN'", "expires_seconds is nan"),
        ("expires_seconds = '-1'", "expires_seconds is -1"),
    ],
)
def test_a_row_with_a_definition_that_only_sql_can_write_is_put_aside_alone(
    own: BaseDatabaseWrapper, change: str, word: str
):
    add_schedule("bad", next_at=last_multiple(PERIOD) - periods(1))
    add_schedule("nightly", args=[1])
    spoil("bad", change)

    batch = make_batch(own, "default", Deferred(overdue={"bad"}))
    again = make_batch(own, "default", Deferred(overdue={"bad"}))

    assert [one.schedule for one in batch.ticked] == ["nightly"]
    assert ([*batch.deferred], batch.halves) == (["bad"], ())
    assert [(one.schedule, one.is_new) for one in batch.failed] == [("bad", True)]
    assert word in error_of("bad")
    assert "secret" not in error_of("bad")
    assert (again.ticked, again.failed) == ([], [])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (f"args = {UNREADABLE}", "expected other JSON. Set it to [], for example."),
        ("recent_ticks = '{}'", "recent_ticks"),
        ('totals = \'{"missed": "1"}\'', "totals"),
        ("open_tick = '7'", "open_tick"),
        ("lateness_seconds = 'Infinity'", "lateness_seconds has an unexpected value: inf"),
        (
            "next_at = '-infinity'",
            "next_at is -infinity; expected a moment of the years 1 to 9999. Pause and",
        ),
        ("next_at = '4000-01-01 BC'", "next_at is 4000-01-01"),
    ],
)
def test_a_malformed_row_fails_alone(own: BaseDatabaseWrapper, change: str, word: str):
    add_schedule("bad", next_at=last_multiple(PERIOD) - periods(1))
    add_schedule("nightly", args=[1])
    spoil("bad", change)

    batch = make_batch(own, "default")
    spoil("bad", "retry_at = NULL")
    again = make_batch(own, "default")

    assert [one.schedule for one in batch.ticked] == ["nightly"]
    assert ([*batch.deferred], batch.halves) == ([], ())
    assert [(one.schedule, one.is_new) for one in [*batch.failed, *again.failed]] == [
        ("bad", True),
        ("bad", False),
    ]
    assert word in error_of("bad")
    assert again.ticked == []


@pytest.mark.parametrize(
    "change",
    [
        *(f"{column} = 'infinity'" for column in ("defined_at", "last_at", "last_completed_at", "retry_at")),
        *("last_at = '4000-01-01 BC'", "retry_at = '-infinity'", "failures = -2147483648"),
    ],
)
def test_values_on_which_no_tick_depends_keep_none(own: BaseDatabaseWrapper, change: str):
    add_schedule()
    spoil("nightly", change)

    batch = make_batch(own, "default")

    assert [one.schedule for one in batch.ticked] == ["nightly"]


@pytest.mark.parametrize(
    ("moment", "is_due"), [("infinity", False), ("-infinity", True), ("4000-01-01 BC", True)]
)
def test_a_heartbeat_succeeds_with_an_infinite_next_tick(own: BaseDatabaseWrapper, moment: str, is_due: bool):
    add_schedule()
    spoil("nightly", f"next_at = '{moment}'")

    found = leasing.heartbeat(connection, "default", uuid4())

    next_in = found.schedules.next_in
    assert (next_in is not None and next_in < 0) == is_due
    assert not make_batch(own, "default").ticked


def test_a_negative_number_of_failures_does_not_keep_the_next_one_from_being_counted(
    own: BaseDatabaseWrapper,
):
    add_schedule()
    spoil("nightly", "failures = -2147483648")
    [locked] = sql.lock_due(own, 1, [])

    assert write_failed(own, locked, "locked (55P03)", "(55P03)")

    assert stored().failures == 1


def test_an_error_of_the_server_while_the_error_of_a_row_is_written_is_none_of_the_row(
    own: BaseDatabaseWrapper,
):
    add_schedule()

    with (
        refusing("INSERT"),
        refusing("UPDATE", code="53200", message="frozen", table=SCHEDULES),
        pytest.raises(Error, match="frozen"),
    ):
        make_batch(own, "default")

    assert not Task.objects.exists()


@pytest.mark.parametrize("failing", [("pg_notify",), ("pg_notify", "SELECT extract(epoch FROM min(")])
def test_a_notification_that_fails_loses_neither_the_next_tick_nor_another_error(
    own: BaseDatabaseWrapper, failing: tuple[str, ...]
):
    add_schedule()
    add_schedule("soon", every=3600, next_at=server_now() + timedelta(hours=1))

    def refuse(run_it: Any, text: str, *args: Any) -> Any:
        if any(part in text for part in failing):
            raise DataError("too many notifications in the NOTIFY queue")
        return run_it(text, *args)

    with own.execute_wrapper(refuse):
        batch = make_batch(own, "default")

    assert [one.schedule for one in batch.ticked] == ["nightly"]
    assert len(batch.late_errors) == len(failing)
    assert batch.next_in == (None if len(failing) == 2 else pytest.approx(3600, abs=60))


def test_no_event_is_emitted_of_a_batch_that_is_rolled_back(own: BaseDatabaseWrapper):
    add_schedule("a", args=[0])
    add_schedule("b", args=[1])
    is_second = "NEW.arguments #>> '{args,0}' = '1'"
    with refusing("INSERT", is_second):
        batch = make_batch(own, "default")

    assert (batch.ticked, batch.failed, batch.halves) == ((), (), [["a"], ["b"]])
    assert not Task.objects.exists()


def test_an_error_is_not_written_into_a_row_that_was_ticked_meanwhile(own: BaseDatabaseWrapper):
    add_schedule()
    [locked] = sql.lock_due(own, 1, [])
    Schedule.objects.update(next_at=server_now() + timedelta(days=1))

    assert write_failed(own, locked, "locked (55P03)", "(55P03)") is None
    assert not write_fault(own, locked, "locked (55P03)", "(55P03)")

    assert (stored().error, stored().failures) == ("", 0)


def test_a_retry_that_was_planned_before_the_clock_was_set_back_is_due(own: BaseDatabaseWrapper):
    add_schedule(failures=3, error="locked (55P03)", retry_at=server_now() + timedelta(hours=1))
    add_schedule("young", args=[1], failures=3, error="x", retry_at=server_now() + timedelta(seconds=50))

    batch = make_batch(own, "default")

    assert [one.schedule for one in batch.ticked] == ["nightly"]


def test_all_missed_ticks_are_enqueued_in_order_if_that_is_asked_for(own: BaseDatabaseWrapper):
    add_schedule(
        task="Many", every=60, catch_up="all", next_at=last_multiple(60) - timedelta(seconds=60 * 1100)
    )

    batch = make_batch(own, "default")

    moments = list(Task.objects.order_by("pk").values_list("scheduled_for", flat=True))
    assert len(moments) == 1000
    assert moments == sorted(moments)  # type: ignore[type-var]
    assert stored().totals["missed"] in (100, 101)
    assert not batch.is_full
    assert len(stored().recent_ticks) == 20


def test_a_batch_takes_at_most_100_schedules_and_ends_after_1000_tasks(own: BaseDatabaseWrapper):
    for number in range(3):
        long_ago = last_multiple(PERIOD) - periods(700)  # with a tick every minute, more might be due
        add_schedule(f"s{number}", task="Many", catch_up="all", next_at=long_ago, args=[number])
    first, second = (make_batch(own, "default") for _ in range(2))
    for number in range(101):
        add_schedule(f"n{number}", args=[number])
    third, fourth = (make_batch(own, "default") for _ in range(2))

    assert [len(batch.ticked) for batch in (first, second, third, fourth)] == [2, 1, 100, 1]
    assert [batch.is_full for batch in (first, second, third, fourth)] == [True, False, True, False]


def test_rows_that_others_lock_are_left_to_them(own: BaseDatabaseWrapper):
    add_schedule()

    with open_transaction("SELECT FROM django_partisan_schedule FOR UPDATE"):
        batch = make_batch(own, "default")

    assert not batch.ticked
    assert batch.next_in is not None
    assert batch.next_in < 0


def test_a_pause_that_is_committed_comes_before_every_later_batch(own: BaseDatabaseWrapper):
    add_schedule()
    scheduling.pause("nightly")

    batch = make_batch(own, "default")

    assert (batch.ticked, batch.next_in) == ([], None)


def test_an_error_of_the_server_is_no_error_of_a_schedule(own: BaseDatabaseWrapper):
    add_schedule()

    with refusing("INSERT", code="53200"), pytest.raises(Error, match="as asked"):
        make_batch(own, "default")

    assert (stored().error, stored().failures) == ("", 0)
    assert len(make_batch(own, "default").ticked) == 1
