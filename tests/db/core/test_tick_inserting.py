"""The tasks of ticks are inserted like others: in the order of their keys, and in parts."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_partisan.models import Task
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.enqueueing import NewTask
from django_partisan.sql.tick_inserting import NewTick, insert_ticks
from tests.support.schedules import NOON

pytestmark = pytest.mark.django_db


def tick(key: UUID | None = None, second: int = 0, text: str = "") -> NewTick:
    arguments = f'{{"args": ["{text}"], "kwargs": {{}}}}'
    moment = NOON + timedelta(seconds=second)
    return NewTick(NewTask("default", "Letter", 10, None, arguments, "{}", key), moment, None)


@pytest.mark.parametrize("unique", [True, False])
def test_what_is_too_large_for_one_statement_goes_in_parts_of_one_transaction(unique: bool):
    ticks = [tick(uuid4() if unique else None, number, "x" * 200) for number in range(10)]

    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        rows = insert_ticks(connection, ticks, part_bytes=1000)

    inserted = [query["sql"] for query in asked if "INSERT" in query["sql"]]
    assert 2 <= len(inserted) <= 5
    assert not [query for query in asked if "SAVEPOINT" in query["sql"]]
    stored = list(Task.objects.order_by("pk").values_list("pk", "scheduled_for", "unique_key"))
    assert stored == [
        (task_id, one.scheduled_for, one.task.unique_key)
        for (task_id, _), one in zip(rows, ticks, strict=True)
    ]


def test_keys_are_inserted_in_their_order_as_by_all_who_insert_many():
    insert_ticks(connection, [tick(uuid4(), number) for number in range(20)], part_bytes=1)

    keys = fetch_all(connection, "SELECT unique_key::text FROM django_partisan_task ORDER BY cmin::text::int")
    assert keys == sorted(keys)


def test_ticks_with_one_key_have_one_task_of_which_the_first_is_new():
    key, other = uuid4(), uuid4()

    rows = insert_ticks(connection, [tick(key), tick(other), tick(key, 1), tick(None), tick(key, 2)])

    assert len({rows[place][0] for place in (0, 2, 4)}) == 1
    assert [is_new for _, is_new in rows] == [True, True, False, True, False]
    assert Task.objects.count() == 3


@pytest.mark.parametrize("expires_at", [None, NOON])
def test_a_statement_for_tasks_that_never_expire_has_no_expiry(expires_at: datetime | None):
    ticks = [tick(uuid4()), tick(uuid4())._replace(expires_at=expires_at)]

    with CaptureQueriesContext(connection) as asked:
        insert_ticks(connection, ticks)

    [inserted] = [query["sql"] for query in asked if "INSERT" in query["sql"]]
    assert ("expires_moment" in inserted) == (expires_at is not None)
    moments = Task.objects.order_by("pk").values_list("expires_at", flat=True)
    assert list(moments) == [None, expires_at]


def test_no_ticks_are_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert insert_ticks(connection, []) == []
