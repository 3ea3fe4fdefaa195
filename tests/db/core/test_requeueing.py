"""Failed tasks wait again like new ones, except for their attempts and their history."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_partisan import batches, requeueing
from django_partisan.models import Task
from django_partisan.models.controls import CancelRequest
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.requeueing import requeue
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.settling import apply_changes
from django_partisan.telemetry.events.operators import TasksRequeued
from tests.support.rows import claim_one, claimed, columns, insert, make_copies, statuses

pytestmark = pytest.mark.django_db


def failed(number: int = 1, reason: str = "error", **task: Any) -> list[int]:
    """Insert tasks whose first run failed; return their ids."""
    rows = claimed(number, **task)
    changes = [RowChange(row[ID], row[TOKEN], "error", reason=reason, error_type="app.Lost") for row in rows]
    assert apply_changes(connection, [change.after("failed") for change in changes]) == []
    return [row[ID] for row in rows]


def test_a_requeued_task_is_due_now_with_its_attempts_and_its_error_and_no_other_count(manager):
    [task_id] = failed()
    counts = {"attempts": 7, "retries": 3, "postpones": 4, "crashes": 2, "takeovers": 1}
    Task.objects.update(**counts, execute_after=timezone.now() - timedelta(days=3))

    assert Task.objects.requeue(comment="the net is back") == 1

    task = Task.objects.get(pk=task_id)
    assert (task.status, task.ready, task.finished_at, task.claimed_by) == ("new", True, None, None)
    assert (task.attempts, task.retries, task.postpones, task.crashes, task.takeovers) == (7, 0, 0, 0, 0)
    assert (task.error_reason, task.error_type) == (None, "app.Lost")
    assert timezone.now() - task.execute_after < timedelta(minutes=1)
    last = columns(task_id, "history")[-1]
    assert (last["outcome"], last["comment"]) == ("requeued", "the net is back")
    assert claim_one(manager())[ID] == task_id


def test_only_failed_tasks_are_requeued(manager):
    others = {insert().pk: "new", claimed(1)[0][ID]: "in_process", insert().pk: "finished"}
    for task_id, status in others.items():
        Task.objects.filter(pk=task_id).update(status=status)
    before = list(Task.objects.order_by("pk").values())

    assert Task.objects.all().requeue() == 0
    assert not Task.objects.get(pk=min(others)).requeue()
    assert list(Task.objects.order_by("pk").values()) == before


def test_one_task_is_requeued_and_has_the_values_of_its_row():
    [task_id] = failed()
    task = Task.objects.get(pk=task_id)

    assert task.requeue("by hand")
    assert task.status == "new"
    assert not task.requeue()


@pytest.mark.parametrize("reason", ["cancelled", "expired"])
def test_cancelled_and_expired_tasks_are_requeued_only_if_they_or_their_reason_are_named(reason):
    first, second = failed(2, reason=reason)

    assert Task.objects.requeue() == 0
    assert Task.objects.get(pk=first).requeue()
    assert Task.objects.requeue(reasons=[reason]) == 1
    assert columns(second, "status") == "new"


def test_a_sliced_queryset_requeues_its_tasks_alone():
    ids = failed(3)

    assert Task.objects.order_by("-pk")[:2].requeue() == 2
    assert statuses() == {ids[0]: "error", ids[1]: "new", ids[2]: "new"}


def test_a_request_to_cancel_a_task_that_failed_meanwhile_is_forgotten():
    requeued, other = failed(2)
    CancelRequest.objects.bulk_create(CancelRequest(task_id=task_id) for task_id in (requeued, other))

    Task.objects.filter(pk=requeued).requeue()

    assert list(CancelRequest.objects.values_list("task_id", flat=True)) == [other]


def test_of_many_only_those_that_meet_a_duplicate_give_up_their_keys(monkeypatch):
    keys = [uuid4() for _ in range(20)]
    ids = failed(20)
    for task_id, key in zip(ids, keys, strict=True):
        Task.objects.filter(pk=task_id).update(unique_key=key)
    Task.objects.filter(pk=ids[7]).update(unique_key=keys[6])  # both failed, so both may have the key
    waiting = insert(key=keys[3]).pk

    assert list(requeueing.requeue_all(ids)) == [20]

    assert set(statuses().values()) == {"new"}
    without_key = {task_id for task_id in ids if columns(task_id, "unique_key") is None}
    assert without_key - {ids[6], ids[7]} == {ids[3]}
    assert len(without_key & {ids[6], ids[7]}) == 1
    assert columns(waiting, "unique_key") == keys[3]


def test_each_batch_is_one_statement_and_says_how_many(django_assert_max_num_queries):
    ids = failed(1)
    make_copies(Task.objects.get(), batches.BATCH)

    with django_assert_max_num_queries(20):
        numbers = list(requeueing.requeue_all([*Task.objects.values_list("pk", flat=True)]))

    assert numbers == [batches.BATCH, 1]
    assert columns(ids[0], "status") == "new"


def test_inside_a_transaction_nothing_is_emitted_before_its_end_and_its_lock_timeout_stays(
    diary, django_capture_on_commit_callbacks
):
    failed(2)
    failed(1, processor="Bill")

    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        execute(connection, "SET LOCAL lock_timeout = '7s'")
        assert Task.objects.requeue() == 3
        assert fetch_all(connection, "SHOW lock_timeout") == [("7s",)]
        assert diary.of(TasksRequeued) == []

    assert sorted(diary.of(TasksRequeued)) == [
        TasksRequeued("default", "Bill", 1),
        TasksRequeued("default", "Letter", 2),
    ]


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_transaction_locks_is_left_to_it_and_no_other_waits(second):
    ids = failed(2)

    with transaction.atomic():
        Task.objects.select_for_update().get(pk=ids[0])
        assert [task.id for task in requeue(second, ids)] == [ids[1]]


@pytest.mark.django_db(transaction=True)
def test_a_task_whose_duplicate_another_transaction_is_inserting_gives_up_its_key(second):
    key = uuid4()
    ids = failed(4)
    Task.objects.filter(pk=ids[2]).update(unique_key=key)
    second.set_autocommit(False)
    insert(key=key, connection=second)

    assert list(requeueing.requeue_all(ids)) == [4]

    second.commit()
    second.set_autocommit(True)
    assert columns(ids[2], "status", "unique_key") == ("new", None)


@pytest.mark.django_db(transaction=True)
def test_what_postgresql_refuses_otherwise_is_raised():
    failed()
    execute(connection, "ALTER TABLE django_partisan_cancel_request RENAME TO mislaid")
    try:
        with pytest.raises(Exception, match="django_partisan_cancel_request"):
            Task.objects.requeue()
    finally:
        execute(connection, "ALTER TABLE mislaid RENAME TO django_partisan_cancel_request")
    assert Task.objects.failed().count() == 1
