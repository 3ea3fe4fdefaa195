"""``delay()``, ``adelay()`` and ``bulk_delay()``: what is stored, refused and emitted."""

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone as django_timezone

from django_partisan import arguments, registry
from django_partisan.exceptions import UnknownQueue, WrongSetting
from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from django_partisan.sql.claiming import ID
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.queues import TasksEnqueued
from django_partisan.telemetry.events.tasks import TaskDeduplicated, TaskEnqueued, TaskEnqueueFailed
from django_partisan.telemetry.events.values import TaskRef
from tests.support.events import RecordedEvents, subscribed
from tests.support.registry import Idle
from tests.support.rows import claim, columns

pytestmark = pytest.mark.django_db

EARLIER = datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
LATER = datetime(2999, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


class Letter(Idle):
    PRIORITY = 5


class Parcel(Idle):
    UNIQUE_FOR_PARAMS = False


class Mailed(Idle):
    QUEUE_NAME = "mail"


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_an_object_may_have_a_queue_a_priority_and_a_uniqueness_of_its_own():
    letter = Letter(1)
    letter.QUEUE_NAME, letter.PRIORITY, letter.UNIQUE_FOR_PARAMS = "mail", 7, False  # type: ignore[misc]

    task = letter.delay()

    assert columns(task.pk, "queue_name", "priority", "unique_key") == ("mail", 7, None)


def test_delay_returns_the_row_as_it_is_stored():
    task = Letter(1, "a", to="Ada").delay()

    stored = Task.objects.get()
    fields = [field.attname for field in Task._meta.concrete_fields]
    assert isinstance(task, Task)
    assert {name: getattr(task, name) for name in fields} == {name: getattr(stored, name) for name in fields}
    assert stored.processor_class == "Letter"
    assert stored.arguments == {"args": [1, "a"], "kwargs": {"to": "Ada"}}
    assert (stored.status, stored.queue_name, stored.extra, stored.ready) == ("new", "default", {}, True)
    assert task._state.db == "default"
    assert not task._state.adding


@pytest.mark.parametrize("priority", [True, 1.0, "1", 2**31, -(2**31) - 1])
def test_a_priority_that_is_no_integer_of_32_bits_is_refused(priority):
    with pytest.raises(TypeError) as refused:
        Letter().delay(priority=priority)

    assert str(refused.value) == f"Letter: priority is {priority!r}; expected a 32-bit integer."
    assert not Task.objects.exists()


@pytest.mark.parametrize("priority", [None, 0, -7, 2**31 - 1, -(2**31)])
def test_a_priority_wins_over_that_of_the_processor_which_is_10_by_default(priority):
    assert columns(Letter().delay(priority=priority).pk, "priority") == (5 if priority is None else priority)
    assert Parcel().delay().priority == 10


@pytest.mark.parametrize(("moment", "ready"), [(LATER, False), (EARLIER, True)])
def test_a_task_is_due_at_its_time_or_at_once_if_that_has_passed(moment, ready):
    ids = [Letter(1).delay(execute_after=moment).pk, *bulk_delay([Letter(2)], execute_after=moment)]

    assert {columns(pk, "execute_after", "ready") for pk in ids} == {(moment, ready)}


def test_delay_takes_keyword_arguments_only():
    with pytest.raises(TypeError, match="positional argument"):
        Letter().delay(1)  # type: ignore[call-arg]


def test_a_task_without_a_time_is_due_since_it_was_asked_for():
    before = django_timezone.now() - timedelta(seconds=1)

    task = Letter().delay()

    assert before < task.execute_after < django_timezone.now() + timedelta(seconds=1)
    assert task.created_at == task.updated_at == task.execute_after


def test_a_naive_time_is_refused_where_time_zones_are_used():
    with pytest.raises(ValueError, match=r"Letter: execute_after is datetime.*has no time zone; use django"):
        Letter().delay(execute_after=datetime(2999, 1, 2))  # noqa: DTZ001
    assert not Task.objects.exists()


def test_a_time_that_is_no_datetime_is_refused():
    with pytest.raises(TypeError, match="execute_after is '2999-01-02'; expected a datetime"):
        Letter().delay(execute_after="2999-01-02")  # type: ignore[arg-type]


@override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin")
def test_a_naive_time_is_local_where_no_time_zones_are_used():
    task = Letter().delay(execute_after=datetime(2999, 7, 1, 14, 0))  # noqa: DTZ001

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_char(execute_after AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM django_partisan_task"
            " WHERE id = %s",
            [task.pk],
        )
        assert cursor.fetchone() == ("2999-07-01 12:00",)


def test_arguments_that_json_cannot_hold_are_refused_and_nothing_is_stored():
    with pytest.raises(TypeError, match=r"Letter: argument kwargs\['on'\] is .*of type datetime"):
        Letter(on=django_timezone.now()).delay()
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    "value",
    [
        "x" * 2**20,
        "\u00e9\U0001f4ee\\u0000\\",
        {"z": 1, "a": [None, True, 0.1, 2**63]},
        [[], {}, ""],
        1e15,
        -0.5,
    ],
    ids=["a megabyte", "odd characters", "an object", "empty ones", "a large float", "a negative float"],
)
def test_what_run_sees_equals_what_was_passed(value, manager):
    Letter(value, named=value).delay()

    [row] = claim(connection, "default", manager(), 1)

    assert arguments.decode(row[2]) == ([value], {"named": value})


def test_a_tuple_becomes_a_list_and_a_float_from_1e16_an_int(manager):
    Letter((1, 2), 1e16).delay()

    [row] = claim(connection, "default", manager(), 1)
    [pair, number], _ = arguments.decode(row[2])

    assert pair == [1, 2]
    assert (number, type(number)) == (10**16, int)


@override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}})
def test_a_task_goes_to_the_queue_of_its_processor_default_by_default():
    assert Letter().delay().queue_name == "default"
    assert Mailed().delay().queue_name == "mail"


@override_settings(PARTISAN_CONFIG={"mail": {}, "images": {}})
def test_a_call_may_name_its_queue(recorded_events):
    ids = [
        Mailed(1).delay(queue_name="images").pk,
        *bulk_delay([Letter(1), Mailed(2)], queue_name="images"),
        Mailed(3).delay(queue_name="default").pk,
        Mailed(4).delay(queue_name=None).pk,
    ]

    assert [columns(pk, "queue_name") for pk in ids] == ["images"] * 3 + ["default", "mail"]


@pytest.mark.django_db(transaction=True)
@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_what_is_emitted_names_the_queue_of_the_call(recorded_events):
    Letter(1).delay(queue_name="mail")
    bulk_delay([Letter(2)], queue_name="mail")

    assert [event.task.queue for event in recorded_events.of(TaskEnqueued)] == ["mail"] * 2


@pytest.mark.parametrize("wrong", ["", "nowhere", 5, ["mail"]])
def test_a_queue_of_a_call_that_is_unknown_is_refused(wrong):
    with pytest.raises(UnknownQueue, match=r"Unknown queue .*; known: 'default'"):
        Letter(1).delay(queue_name=wrong)
    with pytest.raises(UnknownQueue, match="Unknown queue"):
        bulk_delay([Letter(1)], queue_name=wrong)
    assert not Task.objects.exists()


@override_settings(PARTISAN_CONFIG={"images": {}})
def test_an_unknown_queue_is_refused_with_the_known_names():
    with pytest.raises(UnknownQueue, match="Unknown queue 'mail'; known: 'default', 'images'"):
        Mailed().delay()
    with pytest.raises(UnknownQueue, match="known: 'default', 'images'"):
        bulk_delay([Letter(), Mailed()])
    assert not Task.objects.exists()


@override_settings(PARTISAN_CONFIG={"q" * 51: {}})
def test_a_queue_name_longer_than_its_column_is_refused():
    class Long(Idle):
        QUEUE_NAME = "q" * 51

    registry.register(Long)
    with pytest.raises(WrongSetting, match="expected at most 50"):
        Long().delay()


def test_a_task_with_the_same_args_and_kwargs_is_not_added_while_one_waits():
    first = Letter({"a": 1, "b": 2}, x=1, y=2).delay()

    again = Letter({"b": 2, "a": 1}, y=2, x=1).delay(priority=1, execute_after=LATER)

    assert again.pk == first.pk
    assert (again.priority, again.execute_after) == (first.priority, first.execute_after)
    assert Task.objects.count() == 1


def test_the_returned_task_says_whether_it_is_a_duplicate():
    first, again, other = Letter(1).delay(), Letter(1).delay(), Letter(2).delay()

    assert [task.is_duplicate for task in (first, again, other)] == [False, True, False]
    assert not Task.objects.get(pk=first.pk).is_duplicate


def test_tasks_with_other_arguments_or_of_other_processors_are_no_duplicates():
    ids = {task.delay().pk for task in (Letter(1), Letter(2), Letter(x=1), Parcel(1))}

    assert len(ids) == 4


def test_a_processor_can_choose_not_to_be_unique():
    assert Parcel(1).delay().pk != Parcel(1).delay().pk
    assert Task.objects.filter(unique_key=None).count() == 2


@pytest.mark.parametrize("status", ["in_process", "finished", "error"])
def test_a_task_that_does_not_wait_any_more_is_no_duplicate(status):
    first = Letter(1).delay()
    Task.objects.update(status=status)

    assert Letter(1).delay().pk != first.pk


def test_delay_is_one_statement():
    with CaptureQueriesContext(connection) as asked:
        Letter(1).delay()

    assert len(asked) == 1


async def _enqueue(**options: Any) -> Task:
    try:
        return await Letter("async").adelay(**options)
    finally:
        await sync_to_async(connections.close_all)()  # of the thread that asgiref used


@pytest.mark.django_db(transaction=True)
def test_adelay_enqueues_from_asynchronous_code():
    with override_settings(PARTISAN_CONFIG={"mail": {}}):
        task = asyncio.run(_enqueue(priority=0, execute_after=LATER, queue_name="mail"))

    assert columns(task.pk, "priority", "execute_after", "queue_name") == (0, LATER, "mail")


def test_context_longer_than_4096_bytes_is_dropped_and_counted(recorded_events):
    recorded_events.carried = {"request": "x" * 4096}

    ids = [Letter(1).delay().pk, *bulk_delay([Letter(2), Letter(3)])]

    assert [columns(pk, "context") for pk in ids] == [None] * 3
    assert swallowed.counts == {"headers": 3}


def test_carried_context_is_stored_with_the_task_and_makes_no_difference_between_duplicates(recorded_events):
    recorded_events.carried = {"traceparent": "00-1-1-01"}
    first = Letter(1).delay()
    recorded_events.carried = {"traceparent": "00-2-2-01"}

    assert Letter(1).delay().pk == first.pk
    assert columns(first.pk, "context") == {"traceparent": "00-1-1-01"}


# Emitted events.


@pytest.mark.django_db(transaction=True)
def test_an_enqueued_task_is_emitted(recorded_events):
    ids = [Letter(1).delay(execute_after=LATER).pk, *bulk_delay([Letter(1, 2)], execute_after=LATER)]
    due = [Letter(2).delay(priority=3).pk, *bulk_delay([Letter(3)], priority=3)]

    events = recorded_events.of(TaskEnqueued)
    assert [event.task for event in events[:2]] == [
        TaskRef(pk, "Letter", "default", 5, 1, 0, 0) for pk in ids
    ]
    assert [event.task for event in events[2:]] == [
        TaskRef(pk, "Letter", "default", 3, 1, 0, 0) for pk in due
    ]
    assert [(event.due_at == LATER, event.scheduled) for event in events] == [(True, True)] * 2 + [
        (False, False)
    ] * 2
    assert [json.loads(event.arguments)["args"] for event in events] == [[1], [1, 2], [2], [3]]


@pytest.mark.django_db(transaction=True)
def test_a_duplicate_is_emitted_as_the_waiting_task_is(recorded_events):
    task = Letter(1).delay()
    Task.objects.update(attempts=4, retries=1, postpones=2)

    with override_settings(PARTISAN_CONFIG={"mail": {}}):
        Letter(1).delay(priority=0, queue_name="mail")

    assert [event.task for event in recorded_events.of(TaskDeduplicated)] == [
        TaskRef(task.pk, "Letter", "default", 5, 5, 1, 2)
    ]
    assert len(recorded_events.of(TaskEnqueued)) == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_emitted_before_the_commit_and_nothing_of_what_is_rolled_back(recorded_events):
    with transaction.atomic():
        kept = [Letter(1).delay().pk, *bulk_delay([Parcel(1), Parcel(2)])]
        with pytest.raises(KeyError), transaction.atomic():
            Letter(2).delay()
            bulk_delay([Letter(3), Letter(4)])
            raise KeyError
        before = list(recorded_events.events)

    assert before == []
    assert [event.task.id for event in recorded_events.of(TaskEnqueued)] == kept
    assert recorded_events.of(TasksEnqueued) == [TasksEnqueued("default", "Parcel", 2, 0)]
    assert len(recorded_events.events) == 4
    assert Task.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_where_transactions_are_ended_by_hand_it_is_told_at_once(recorded_events):
    transaction.set_autocommit(False)
    try:
        Letter(1).delay()
        bulk_delay([Letter(2), Letter(3)])
        told = len(recorded_events.of(TaskEnqueued))
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)

    assert told == 3
    assert Task.objects.count() == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_subscribers")
def test_tasks_are_enqueued_without_subscribers_too():
    Letter(1).delay()
    bulk_delay([Letter(2), Letter(3)])

    assert Task.objects.count() == 3


def refuse(*_: Any) -> Any:
    """Fail every statement; for ``execute_wrapper()``."""
    raise DatabaseError("disk full")


@pytest.mark.parametrize(
    "enqueue", [Letter(1).delay, lambda **options: bulk_delay([Letter(1), Letter(2)], **options)]
)
def test_an_insert_that_fails_is_emitted_and_raised(enqueue, recorded_events):
    with pytest.raises(DatabaseError, match="disk full"), connection.execute_wrapper(refuse):
        enqueue(priority=2)

    [event] = recorded_events.of(TaskEnqueueFailed)
    assert event[:3] == ("default", "Letter", 2)
    assert event.error.message == "disk full"


# Bulk enqueueing.


def test_bulk_delay_is_one_statement_for_many_in_their_order(manager):
    with CaptureQueriesContext(connection) as asked:
        ids = bulk_delay(Parcel(number) for number in range(500))

    inserts = [query for query in asked if "INSERT" in query["sql"]]
    rows = claim(connection, "default", manager(), 500)
    assert len(inserts) == 1
    assert [row[ID] for row in rows] == ids
    assert [arguments.decode(row[2])[0] for row in rows] == [[number] for number in range(500)]


def test_bulk_delay_stores_what_delay_stores():
    alone = Letter(1, '\u00e9"\\{},', to=None).delay(execute_after=LATER)
    Task.objects.update(unique_key=None)

    [pk] = bulk_delay([Letter(1, '\u00e9"\\{},', to=None)], execute_after=LATER)

    names = [field.attname for field in Task._meta.concrete_fields]
    stored = Task.objects.get(pk=pk)
    assert {name for name in names if getattr(stored, name) != getattr(alone, name)} == {
        "id",
        "created_at",
        "updated_at",
    }


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_bulk_delay_takes_processors_of_all_kinds(recorded_events):
    recorded_events.carried = {"a": 'quoted "b" \\'}

    ids = bulk_delay([Letter(1), Mailed(1), Parcel(1), Letter(2)])

    stored = [columns(pk, "processor_class", "queue_name", "priority", "context") for pk in ids]
    carried = {"a": 'quoted "b" \\'}
    assert stored == [
        ("Letter", "default", 5, carried),
        ("Mailed", "mail", 10, carried),
        ("Parcel", "default", 10, carried),
        ("Letter", "default", 5, carried),
    ]


@pytest.mark.django_db(transaction=True)
def test_bulk_delay_returns_the_ids_of_duplicates_inside_and_outside_of_the_batch(recorded_events):
    waiting = Letter("waits").delay()
    recorded_events.events.clear()

    ids = bulk_delay([Letter("new"), Letter("waits"), Letter("new"), Parcel(1), Parcel(1)])

    assert ids[0] == ids[2]
    assert ids[1] == waiting.pk
    assert len(set(ids)) == 4
    assert Task.objects.count() == 4
    assert [event.task.id for event in recorded_events.of(TaskEnqueued)] == [ids[0], ids[3], ids[4]]
    assert [event.task.id for event in recorded_events.of(TaskDeduplicated)] == [waiting.pk, ids[0]]


@pytest.mark.django_db(transaction=True)
def test_a_subscriber_may_want_no_event_for_each_task_of_a_bulk():
    class OfBulks(RecordedEvents):
        def wants_in_bulk(self, kind: Any) -> bool:
            return False

    with subscribed(OfBulks()) as recorded:
        bulk_delay([Letter(1), Letter(2)])
        Letter(3).delay()

    assert recorded.of(TasksEnqueued) == [TasksEnqueued("default", "Letter", 2, 0)]
    assert [event.in_bulk for event in recorded.of(TaskEnqueued)] == [False]


@pytest.mark.django_db(transaction=True)
@override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin")
def test_what_is_told_is_due_at_a_moment_with_a_time_zone_where_the_project_has_none(recorded_events):
    local = datetime(2999, 7, 1, 14, 0)  # noqa: DTZ001
    Letter(1).delay(execute_after=local)
    bulk_delay([Letter(2)], execute_after=local)
    Letter(3).delay()
    bulk_delay([Letter(4)])

    told = [
        (event.due_at.utcoffset() is not None, event.scheduled) for event in recorded_events.of(TaskEnqueued)
    ]
    assert told == [(True, True), (True, True), (True, False), (True, False)]
    assert {event.due_at for event in recorded_events.of(TaskEnqueued)[:2]} == {
        datetime(2999, 7, 1, 12, 0, tzinfo=timezone.utc)
    }


def test_if_one_of_many_is_refused_none_is_enqueued():
    with pytest.raises(TypeError, match=r"Letter: argument args\[0\] is nan"):
        bulk_delay([Letter(1), Letter(float("nan"))])

    assert not Task.objects.exists()


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_those_around_an_enqueueing_see_what_became_of_it():
    scopes: list[Any] = []
    seen: list[tuple[str, str]] = []

    class Around(bus.Subscriber):
        def around(self, scope: Any) -> Any:
            scopes.append(scope)
            return super().around(scope)

        def headers(self) -> dict[str, str]:
            seen.append((scopes[-1].queue, scopes[-1].processor))
            return dict(super().headers())

        def wants(self, kind: Any) -> bool:
            return False

    with subscribed(Around()):
        task = Letter(1).delay()
        Letter(1).delay()
        ids = bulk_delay([Letter(1), Mailed(2)])
        bulk_delay([Letter(1)])

    single, duplicate, many, one_duplicate = scopes
    assert (single.task_id, single.deduplicated, single.count) == (task.pk, False, 1)
    assert (duplicate.task_id, duplicate.deduplicated) == (task.pk, True)
    assert (many.count, many.task_ids, many.deduplicated) == (2, ids, False)
    assert (one_duplicate.task_ids, one_duplicate.deduplicated) == ([task.pk], True)
    assert seen[2:4] == [("default", "Letter"), ("mail", "Mailed")]
