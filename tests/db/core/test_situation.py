"""The situation of a task is read from the tables and described in one sentence."""

from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from django_partisan.models import CancelRequest, ManagerLease, Pause, Task
from django_partisan.sql import holding, leasing
from django_partisan.sql.claiming import ID
from django_partisan.sql.manager_state import Run, manager_state, publish
from django_partisan.sql.situation import AHEAD_AT_MOST, ManagerCounts, Situation, situation_of
from django_partisan.why import explain
from tests.support.registry import Idle
from tests.support.rows import claimed, insert, insert_many, make_copies, register_manager

pytestmark = pytest.mark.django_db


class Letter(Idle):
    """A processor that takes arguments."""


def situation(task_id: int) -> Situation:
    found = situation_of(connection, task_id)
    assert found is not None
    return found


def test_a_due_task_has_those_of_its_queue_ahead_that_are_claimed_before_it():
    first, second = insert_many(2, processor="Letter")
    insert(priority=1)
    insert("mail", priority=1)
    last = insert(priority=11).pk

    assert [situation(each).ahead for each in (first, second, last)] == [1, 2, 3]


def test_tasks_ahead_are_counted_up_to_a_limit():
    make_copies(insert(priority=1), AHEAD_AT_MOST + 1)

    assert situation(insert().pk).ahead == AHEAD_AT_MOST + 1


def test_a_scheduled_task_has_none_ahead():
    insert()
    task = insert(execute_after=timezone.now() + timedelta(hours=1))

    found = situation(task.pk)

    assert found.ahead == 0
    assert 3500 < found.task.due_in_seconds <= 3600


def test_the_live_managers_of_the_queue_are_counted_by_what_they_know():
    knows, drains, _ = register_manager(), register_manager(), register_manager()
    holding.publish(connection, knows, ["Letter"])
    publish(connection, drains, manager_state([], {}, is_draining=False))
    holding.publish_draining(connection, drains)
    register_manager("mail")
    dead = register_manager()
    ManagerLease.objects.filter(pk=dead).update(heartbeat_at=timezone.now() - timedelta(hours=1))
    leasing.register(connection, uuid4(), "default", "here", 1, uuid4(), 30, is_serving=False)

    assert situation(insert().pk).serving == ManagerCounts(managers=3, draining=1, able=1, unpublished=1)


@pytest.mark.parametrize(
    ("pause", "is_paused"),
    [
        ({}, True),
        ({"until": datetime(2100, 1, 1, tzinfo=dt_timezone.utc)}, True),
        ({"until": datetime(2020, 1, 1, tzinfo=dt_timezone.utc)}, False),
        ({"queue_name": "mail"}, False),
        ({"processor_class": "Letter"}, False),
    ],
    ids=["until resumed", "until later", "over", "of another queue", "of a processor"],
)
def test_a_pause_of_the_queue_counts_while_it_lasts(pause, is_paused):
    Pause.objects.create(**{"queue_name": "default", "comment": "no ink", **pause})

    found = situation(insert().pk).pause

    assert (found is not None) == is_paused
    assert found is None or found.comment == "no ink"


def test_a_task_that_gave_up_its_key_names_its_waiting_duplicate():
    waiting = Letter("ada", copies=[1, 2]).delay()
    other = Letter("bob", copies=[1, 2]).delay()
    late = Task.objects.create(processor_class="Letter", arguments=waiting.arguments, unique_key=None)

    assert situation(late.pk).duplicate == waiting.pk
    assert situation(waiting.pk).duplicate is None
    assert explain(connection, late.pk).endswith(f"; task {waiting.pk} waits with the same arguments.")
    Task.objects.filter(pk=waiting.pk).update(status="finished")
    assert situation(late.pk).duplicate is None
    assert situation(other.pk).duplicate is None


@pytest.mark.parametrize("arguments", [{}, [], {"args": 3, "kwargs": {}}, {"args": [], "kwargs": 1}], ids=str)
def test_arguments_of_another_origin_have_no_duplicate(arguments):
    task = Task.objects.create(processor_class="Letter", arguments=arguments)

    assert situation(task.pk).duplicate is None


def test_a_task_in_process_has_its_holder_and_what_that_runs():
    manager = register_manager()
    [row, other] = claimed(2, manager=manager)
    publish(connection, manager, manager_state([Run(row[ID], "Letter", 99, 0, 5)], {}, is_draining=False))
    CancelRequest.objects.create(task_id=row[ID])

    found = situation(row[ID])

    assert found.holder is not None
    assert (found.holder.id, found.task.is_cancel_requested) == (manager, True)
    assert [run.task for run in found.holder.runs] == [row[ID]]
    assert "process 99" in explain(connection, row[ID])
    assert "had not started" in explain(connection, other[ID])


def test_a_task_whose_manager_has_gone_has_no_holder():
    [row] = claimed()
    ManagerLease.objects.all().delete()

    assert situation(row[ID]).holder is None
    assert "by a manager that no longer exists" in explain(connection, row[ID])


def test_the_last_entry_of_the_history_says_how_it_went_before():
    history = [{"outcome": "retried"}, {"outcome": "postponed", "comment": "printer is busy"}]
    later = timezone.now() + timedelta(hours=1)
    task = Task.objects.create(
        processor_class="Letter", execute_after=later, postpones=1, attempts=2, history=history
    )

    assert "was postponed, 1" in explain(connection, task.pk)
    assert explain(connection, task.pk).endswith(
        "(printer is busy), but no live manager serves the queue 'default'."
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"status": "finished", "attempts": 1}, "completed"),
        ({"status": "error", "error_reason": "error", "error_message": "no ink " * 100}, "no ink no ink"),
        ({"held": "unregistered", "unregistered_since": timezone.now()}, "no manager knew its processor"),
    ],
    ids=["finished", "error", "held"],
)
def test_each_status_has_its_sentence(values, words):
    task = Task.objects.create(processor_class="Letter", **values)

    text = explain(connection, task.pk)

    assert words in text
    assert len(text) < 400


def test_a_task_without_a_row_was_deleted_or_has_never_existed():
    task = insert()
    task_id = task.pk
    task.delete()

    assert "has no row" in explain(connection, task_id)
    assert f"never existed: the highest id so far is {task_id}" in explain(connection, task_id + 1)
