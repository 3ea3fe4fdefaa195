"""Waiting tasks are made due or get another priority, and ended tasks are deleted; no others are."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_partisan import batches, changing
from django_partisan.models import ManagerLease, Task
from django_partisan.outcomes import DELETED, DUE_NOW, PRIORITIZED
from django_partisan.sql.changing import prioritize, run_now
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.forgotten import restore
from django_partisan.sql.listening import Listener
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.settling import apply_changes
from django_partisan.telemetry.events.operators import TasksChanged
from tests.support.rows import claim_one, claimed, columns, forget, insert, insert_many, make_copies, statuses
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db

LATER = timedelta(hours=2)


def scheduled(number: int = 1, **task: Any) -> list[int]:
    return insert_many(number, execute_after=timezone.now() + LATER, **task)


def ids_of(batches: Any) -> list[int]:
    return [task.id for batch in batches for task in batch]


def of_every_status() -> dict[str, int]:
    """Return one task id for every status, by status."""
    made = {
        "in_process": claimed(1)[0][ID],
        "new": insert().pk,
        "error": insert().pk,
        "finished": insert().pk,
    }
    for status, task_id in made.items():
        if status != "in_process":
            Task.objects.filter(pk=task_id).update(status=status, ready=status == "new")
    return made


def test_a_scheduled_task_is_due_now_and_its_history_says_who_asked(manager):
    [task_id] = scheduled()

    assert ids_of(changing.run_now_all([task_id], "the customer waits")) == [task_id]

    task = Task.objects.get(pk=task_id)
    assert task.ready
    assert task.execute_after <= timezone.now()
    [entry] = columns(task_id, "history")
    assert (entry["outcome"], entry["comment"]) == (DUE_NOW, "the customer waits")
    assert claim_one(manager())[ID] == task_id


def test_a_task_that_waits_for_its_retry_is_due_now_and_keeps_its_counts():
    [row] = claimed()
    retry = RowChange(row[ID], row[TOKEN], "new", delay=3600.0, retries=1)
    assert apply_changes(connection, [retry.after("retried")]) == []

    assert ids_of(changing.run_now_all([row[ID]])) == [row[ID]]
    assert columns(row[ID], "ready", "attempts", "retries") == (True, 1, 1)


def test_a_held_task_stays_held_and_is_due_when_it_is_resumed():
    [task_id] = scheduled()
    Task.objects.update(held="unregistered")

    assert ids_of(changing.run_now_all([task_id])) == [task_id]
    assert columns(task_id, "ready", "held") == (False, "unregistered")


def test_only_tasks_that_are_scheduled_are_made_due():
    made = of_every_status()
    before = list(Task.objects.order_by("pk").values())

    assert ids_of(changing.run_now_all(list(made.values()))) == []
    assert list(Task.objects.order_by("pk").values()) == before


def test_waiting_tasks_get_the_priority_and_no_other_does(manager):
    made = of_every_status()
    [later] = scheduled()
    first = insert(priority=3).pk

    changed = ids_of(changing.prioritize_all([*made.values(), later, first], 3, "before the rest"))

    assert changed == [made["new"], later]
    assert columns(later, "priority", "ready") == (3, False)
    [entry] = columns(later, "history")
    assert (entry["outcome"], entry["priority"], entry["comment"]) == (PRIORITIZED, 3, "before the rest")
    assert columns(made["in_process"], "priority") == 10


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_postgresql_forgot_is_restored_also_after_a_change_of_priority(manager):
    holder = manager()
    rows = claimed(1, holder)
    forget(rows)

    assert prioritize(connection, [rows[0][ID]], 1)

    assert restore(connection, holder, rows) == {rows[0][ID]}


def test_tasks_that_are_done_are_deleted_and_no_other_is():
    made = of_every_status()

    assert sorted(ids_of(changing.delete_all(list(made.values())))) == sorted(
        [made["error"], made["finished"]]
    )
    assert statuses() == {made["new"]: "new", made["in_process"]: "in_process"}


def test_many_are_changed_in_batches():
    make_copies(Task.objects.create(processor_class="Letter", status="finished"), batches.BATCH)

    numbers = [len(batch) for batch in changing.delete_all([*Task.objects.values_list("pk", flat=True)])]

    assert numbers == [batches.BATCH, 1]
    assert not Task.objects.exists()


def test_each_change_is_emitted_after_the_commit(recorded_events, django_capture_on_commit_callbacks):
    scheduled(2)
    scheduled(1, processor="Bill")

    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        ids_of(changing.run_now_all([*Task.objects.values_list("pk", flat=True)]))
        assert recorded_events.of(TasksChanged) == []

    assert sorted(recorded_events.of(TasksChanged)) == [
        TasksChanged("default", "Bill", 1, DUE_NOW),
        TasksChanged("default", "Letter", 2, DUE_NOW),
    ]


def test_every_kind_of_change_has_its_word(recorded_events, django_capture_on_commit_callbacks):
    [task_id] = scheduled()

    with django_capture_on_commit_callbacks(execute=True):
        ids_of(changing.prioritize_all([task_id], 1))
        Task.objects.update(status="error")
        ids_of(changing.delete_all([task_id]))

    assert [event.change for event in recorded_events.of(TasksChanged)] == [PRIORITIZED, DELETED]


@pytest.mark.django_db(transaction=True)
def test_a_sleeping_manager_is_woken_when_a_task_is_made_due(manager, second):
    manager()
    ManagerLease.objects.update(sleeping=True)
    listener = Listener(second, CHANNEL)
    [task_id] = scheduled()
    listener.take()

    ids_of(changing.run_now_all([task_id]))

    wait_until(lambda: listener.take().get(CHANNEL) == {"default"}, 10, "the notification")


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_transaction_locks_is_left_to_it(second):
    ids = scheduled(2)

    with transaction.atomic():
        Task.objects.select_for_update().get(pk=ids[0])
        assert [task.id for task in run_now(second, ids)] == [ids[1]]
