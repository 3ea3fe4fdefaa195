"""``bulk_delay()`` inserts in an order that cannot deadlock, and in parts that PostgreSQL accepts."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from django_partisan import arguments
from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from django_partisan.sql.bulk_enqueueing import insert_tasks
from django_partisan.sql.claiming import ID
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.enqueueing import NewTask
from tests.support.registry import Idle
from tests.support.rows import ARGUMENTS, claim

pytestmark = pytest.mark.django_db


class Letter(Idle):
    """A processor with unique tasks."""


class Parcel(Idle):
    UNIQUE_FOR_PARAMS = False


def new(processor: str = "Letter", unique: bool = True, **more: Any) -> NewTask:
    return NewTask("default", processor, 10, None, ARGUMENTS, None, uuid4() if unique else None)._replace(
        **more
    )


def test_unique_tasks_have_ids_and_run_in_the_order_of_the_call(manager):
    ids = bulk_delay((Letter if number % 3 else Parcel)(number) for number in range(100))

    rows = claim(connection, "default", manager(), 100)
    assert ids == sorted(ids)
    assert [row[ID] for row in rows] == ids
    assert [arguments.decode(row[2])[0] for row in rows] == [[number] for number in range(100)]


def test_one_unique_task_among_others_keeps_its_place():
    ids = bulk_delay([Letter(1), Parcel(2), Parcel(3)])

    assert ids == sorted(ids)


def test_rows_are_inserted_in_the_order_of_their_keys():
    insert_tasks(connection, [new() for _ in range(20)], part_bytes=1)

    by_statement = fetch_all(
        connection, "SELECT unique_key::text FROM django_partisan_task ORDER BY cmin::text::int"
    )
    assert by_statement == sorted(by_statement)


@pytest.mark.parametrize("unique", [True, False])
def test_what_is_too_large_for_one_statement_goes_in_parts_and_keeps_its_order(unique):
    tasks = [new(unique=unique, context='{"a": "b"}' if place % 2 else None) for place in range(10)]

    with CaptureQueriesContext(connection) as asked:
        rows = insert_tasks(connection, tasks, part_bytes=512)

    ids = [task_id for task_id, _ in rows]
    stored = list(Task.objects.order_by("pk").values_list("pk", "unique_key", "context"))
    assert stored == [
        (task_id, task.unique_key, {"a": "b"} if task.context else None)
        for task_id, task in zip(ids, tasks, strict=True)
    ]
    assert len([query for query in asked if "INSERT" in query["sql"]]) > 1


def test_a_task_larger_than_a_part_is_a_part_of_its_own():
    assert len(insert_tasks(connection, [new(), new()], part_bytes=1)) == 2
    assert Task.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_if_one_part_is_refused_no_part_is_stored():
    with pytest.raises(DatabaseError, match="too long"):
        insert_tasks(connection, [new(), new(processor="x" * 256)], part_bytes=1)

    assert not Task.objects.exists()


def test_duplicates_are_found_in_every_part():
    tasks = [new() for _ in range(5)]
    before = insert_tasks(connection, tasks)

    again = insert_tasks(connection, tasks[::-1], part_bytes=1)

    assert [inserted for _, inserted in before + again] == [True] * 5 + [False] * 5
    assert [task_id for task_id, _ in again] == [task_id for task_id, _ in before][::-1]
