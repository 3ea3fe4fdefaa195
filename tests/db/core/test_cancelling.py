"""Cancelled tasks end without a run if they wait; if a manager holds them, their end is requested."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from django_partisan import batches
from django_partisan.cancelling import CancelResult, cancel_all, cancellation_for
from django_partisan.models import CancelRequest, Task
from django_partisan.sql import settling
from django_partisan.sql.cancelling import (
    Request,
    cancel,
    delete_stale_requests,
    end_waiting,
    find_requests,
)
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.requeueing import requeue
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.settling import apply_changes
from django_partisan.telemetry.events.operators import CancelRequested, TasksCancelled
from tests.support.database import lock_waits
from tests.support.rows import claim, claimed, columns, insert, insert_many, make_copies, pairs, statuses
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db


def requests() -> dict[int, str]:
    """Return the comment of each cancel request, by task id."""
    return dict(CancelRequest.objects.values_list("task_id", "comment"))


def hold(task_id: int) -> int:
    Task.objects.filter(pk=task_id).update(
        held="unregistered", ready=False, unregistered_since=timezone.now()
    )
    return task_id


def test_a_waiting_task_ends_as_failed_with_the_reason_cancelled(manager):
    due, held = insert().pk, hold(insert().pk)
    scheduled = insert(execute_after=timezone.now() + timedelta(days=1)).pk

    assert Task.objects.all().cancel("wrong address") == CancelResult(3, 0)

    for task_id in (due, held, scheduled):
        task = Task.objects.get(pk=task_id)
        assert (task.status, task.ready, task.held, task.unregistered_since) == ("error", False, None, None)
        assert (task.error_reason, task.error_type) == (
            "cancelled",
            "django_partisan.exceptions.TaskCancelled",
        )
        assert (task.error_message, task.error_traceback) == ("wrong address", "")
        assert task.finished_at is not None
        assert timezone.now() - task.finished_at < timedelta(minutes=1)
        [entry] = columns(task_id, "history")
        assert (entry["outcome"], entry["reason"]) == ("failed", "cancelled")
        assert entry["error_message"] == "wrong address"
        assert "attempt" not in entry
    assert requests() == {}
    assert claim(connection, "default", manager(), 10) == []


def test_of_a_task_that_a_manager_holds_the_end_is_requested_and_its_row_is_not_changed():
    [row] = claimed(1)
    before = list(Task.objects.values())

    assert Task.objects.get().cancel("too long") == CancelResult(0, 1)
    assert Task.objects.get().cancel("again") == CancelResult(0, 1)

    assert list(Task.objects.values()) == before
    assert requests() == {row[ID]: "too long"}


def test_tasks_that_have_ended_are_not_cancelled(manager):
    for status in ("finished", "error"):
        Task.objects.filter(pk=insert().pk).update(status=status)
    before = list(Task.objects.order_by("pk").values())

    assert Task.objects.all().cancel() == CancelResult(0, 0)
    assert Task.objects.all()[0].cancel() == CancelResult(0, 0)
    assert list(Task.objects.order_by("pk").values()) == before
    assert requests() == {}


def test_one_task_is_cancelled_and_has_the_values_of_its_row():
    task = insert()

    assert task.cancel() == CancelResult(1, 0)
    assert (task.status, task.error_message) == ("error", "The task was cancelled.")


def test_a_task_whose_row_was_deleted_meanwhile_is_not_cancelled():
    task = insert()
    Task.objects.all().delete()

    assert task.cancel() == CancelResult(0, 0)


def test_a_sliced_queryset_cancels_its_tasks_alone():
    ids = insert_many(3)

    assert Task.objects.order_by("-pk")[:2].cancel() == CancelResult(2, 0)
    assert statuses() == {ids[0]: "new", ids[1]: "error", ids[2]: "error"}


def test_a_cancelled_task_gives_way_to_a_new_one_with_its_key():
    key = uuid4()
    insert(key=key).cancel()

    assert not insert(key=key).is_duplicate


def test_a_cancelled_task_can_be_requeued_and_its_request_is_gone():
    task = insert()
    CancelRequest.objects.create(task_id=task.pk)
    task.cancel()

    assert requests() == {}
    assert task.requeue()


def test_a_comment_that_postgresql_cannot_store_is_stored_as_far_as_it_can_be():
    waiting, [row] = insert(), claimed(1, queue="other")

    Task.objects.all().cancel("no\0 ink\ud800")

    assert columns(waiting.pk, "error_message") == "no ink?"
    assert requests() == {row[ID]: "no ink?"}


def test_a_rollback_undoes_a_cancel_and_tells_nobody(diary, manager):
    insert()

    with transaction.atomic():
        assert Task.objects.all().cancel() == CancelResult(1, 0)
        transaction.set_rollback(True)

    assert len(claim(connection, "default", manager(), 10)) == 1
    assert diary.of(TasksCancelled) == []


def test_what_was_cancelled_and_requested_is_emitted_after_the_commit(
    diary, django_capture_on_commit_callbacks
):
    [row] = claimed(1)
    ids = insert_many(2)
    bill = insert(processor="Bill").pk

    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        execute(connection, "SET LOCAL lock_timeout = '7s'")
        assert Task.objects.all().cancel("by hand") == CancelResult(3, 1)
        assert fetch_all(connection, "SHOW lock_timeout") == [("7s",)]
        assert diary.of(TasksCancelled) == []

    assert sorted(diary.of(TasksCancelled)) == [
        TasksCancelled("default", "Bill", 1, "by hand", (bill,)),
        TasksCancelled("default", "Letter", 2, "by hand", tuple(ids)),
    ]
    assert diary.of(CancelRequested) == [CancelRequested("default", "Letter", 1, "by hand", (row[ID],))]


def test_each_batch_is_one_statement_and_says_how_many(django_assert_max_num_queries):
    insert()
    make_copies(Task.objects.get(), batches.BATCH)

    with django_assert_max_num_queries(20):
        results = list(cancel_all([*Task.objects.values_list("pk", flat=True)]))

    assert results == [CancelResult(batches.BATCH), CancelResult(1)]


@pytest.mark.django_db(transaction=True)
def test_a_waiting_task_that_another_transaction_claims_or_locks_gets_a_request(second, manager):
    ids = insert_many(3)

    with transaction.atomic():
        assert [row[ID] for row in claim(connection, "default", manager(), 1)] == ids[:1]
        Task.objects.select_for_update().get(pk=ids[1])
        found = cancel(second, ids, cancellation_for("stop"))

    assert [(task.id, task.is_requested) for task in found] == [
        (ids[0], True),
        (ids[1], True),
        (ids[2], False),
    ]
    assert requests() == {ids[0]: "stop", ids[1]: "stop"}


@pytest.mark.django_db(transaction=True)
def test_a_task_that_runs_is_settled_although_the_cancel_has_not_committed(second):
    [row] = claimed(1)

    with transaction.atomic():
        assert Task.objects.all().cancel() == CancelResult(0, 1)
        execute(second, "SET lock_timeout = 100")
        change = RowChange(row[ID], row[TOKEN], "error", reason="error")
        assert apply_changes(second, [change]) == []

    assert statuses() == {row[ID]: "error"}


@pytest.mark.django_db(transaction=True)
def test_the_other_tasks_of_a_batch_do_not_wait_for_whoever_cancels_one_of_them_too(second):
    rows = claimed(3)
    ids = [row[ID] for row in rows]
    second.set_autocommit(False)
    cancel(second, ids[1:2], cancellation_for("first"))

    def cancel_too() -> list[CancelResult]:
        try:
            return list(cancel_all(ids, "second"))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        cancelled = threads.submit(cancel_too)
        wait_until(lambda: cancelled.done() or (requests() == {ids[0]: "second"} and lock_waits()))
        assert not cancelled.done()
        second.commit()
        assert cancelled.result() == [CancelResult(0, 3)]

    second.set_autocommit(True)
    assert requests() == {ids[0]: "second", ids[1]: "first", ids[2]: "second"}


@pytest.mark.django_db(transaction=True)
def test_a_cancel_that_fails_leaves_nothing_and_a_transaction_that_goes_on(second):
    ids = [row[ID] for row in claimed(1)]
    waiting = insert(queue="other")
    second.set_autocommit(False)
    cancel(second, ids[-1:], cancellation_for("first"))

    with transaction.atomic():
        execute(connection, "SET LOCAL lock_timeout = 300")
        with pytest.raises(OperationalError, match="lock timeout"):
            Task.objects.get(pk=ids[-1]).cancel("second")
        assert waiting.cancel() == CancelResult(1, 0)
        assert fetch_all(connection, "SHOW lock_timeout") == [("300ms",)]

    second.rollback()
    second.set_autocommit(True)
    assert requests() == {}
    assert statuses()[waiting.pk] == "error"


def test_what_waits_with_a_request_is_found_and_ended_by_a_manager_of_its_queue(manager):
    one = manager()
    rows = claimed(3, one)
    assert Task.objects.all().cancel("enough") == CancelResult(0, 3)
    released, retried, running = rows
    settling.release(connection, pairs([released]))
    apply_changes(connection, [RowChange(retried[ID], retried[TOKEN], "new", 60.0, retries=1)])

    found = find_requests(connection, "default", one, 10)
    assert found == [
        Request(running[ID], "enough", False, running[TOKEN]),
        Request(released[ID], "enough", True, None),
        Request(retried[ID], "enough", True, None),
    ]
    waiting = [request.task_id for request in found if request.is_waiting]
    assert [task.id for task in end_waiting(connection, waiting, cancellation_for("enough"))] == waiting

    assert statuses() == {released[ID]: "error", retried[ID]: "error", running[ID]: "in_process"}
    assert columns(retried[ID], "error_reason", "attempts") == ("cancelled", 1)
    assert requests() == {running[ID]: "enough"}


def test_requests_for_tasks_of_another_manager_are_found_and_those_of_another_queue_are_not(manager):
    [row] = claimed(1)
    claimed(1, queue="other")
    Task.objects.all().cancel()

    assert find_requests(connection, "default", manager(), 10) == [Request(row[ID], "", False, None)]


def test_at_most_a_number_of_requests_is_found(manager):
    one = manager()
    claimed(3, one)
    Task.objects.all().cancel()

    assert len(find_requests(connection, "default", one, 2)) == 2


def test_a_waiting_task_is_ended_only_while_it_has_the_request():
    ids = insert_many(2)
    CancelRequest.objects.create(task_id=ids[0], comment="another")

    assert end_waiting(connection, ids, cancellation_for("this")) == []
    assert set(statuses().values()) == {"new"}


@pytest.mark.django_db(transaction=True)
def test_a_task_that_is_being_requeued_is_not_ended_by_the_request_before(second):
    """The requeue deletes the request and makes the task wait, in one transaction."""
    [row] = claimed(1)
    Task.objects.all().cancel()
    apply_changes(connection, [RowChange(row[ID], row[TOKEN], "error", reason="error")])

    with transaction.atomic():
        assert requeue(connection, [row[ID]])
        assert end_waiting(second, [row[ID]], cancellation_for("")) == []

    assert end_waiting(second, [row[ID]], cancellation_for("")) == []
    assert statuses() == {row[ID]: "new"}


def test_requests_are_deleted_once_their_tasks_have_ended_or_are_gone():
    failed, waits = insert().pk, insert().pk
    [finished, runs] = claimed(2, queue="other")
    settling.delete_completed(connection, pairs([finished]))
    Task.objects.filter(pk=failed).update(status="error")
    ids = [failed, waits, finished[ID], runs[ID]]
    CancelRequest.objects.bulk_create(CancelRequest(task_id=task_id) for task_id in ids)

    delete_stale_requests(connection)

    assert sorted(requests()) == sorted([waits, runs[ID]])


@pytest.mark.django_db(transaction=True)
def test_a_request_that_another_transaction_deletes_is_left_to_it(second):
    ids = insert_many(2)
    Task.objects.update(status="error")
    CancelRequest.objects.bulk_create(CancelRequest(task_id=task_id) for task_id in ids)

    with transaction.atomic():
        requeue(connection, ids[:1])
        execute(second, "SET lock_timeout = 100")
        delete_stale_requests(second)

    assert requests() == {}


def test_other_errors_are_raised():
    ids = insert_many(2)
    execute(connection, "ALTER TABLE django_partisan_cancel_request RENAME TO mislaid")

    with pytest.raises(Exception, match="django_partisan_cancel_request"):
        list(cancel_all(ids))
