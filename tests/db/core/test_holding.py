"""Held rows are not claimed, and are resumed or failed according to the rules."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_partisan.models import ManagerLease, Task
from django_partisan.sql import holding
from django_partisan.sql.backlog import waiting
from django_partisan.sql.claiming import ID, TOKEN, TaskRow, check_queue, claim
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.holding import HeldProcessor
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.settling import apply_changes
from django_partisan.sql.tokens import new_token
from tests.support.rows import claim_one, claimed, columns, insert, insert_many

pytestmark = pytest.mark.django_db

UNREGISTERED = "unregistered"
ERROR = "no processor is registered as %s"
EXPIRED = ("Expired", "too late for 100 %")


def hold(rows: Sequence[TaskRow], reason: str = UNREGISTERED) -> list[int]:
    """Hold claimed tasks; return their ids."""
    assert apply_changes(connection, [RowChange.hold(row[ID], row[TOKEN], reason) for row in rows]) == []
    return [row[ID] for row in rows]


def held(number: int = 1, processor: str = "Gone", days: float = 0.0, **task: Any) -> list[int]:
    """Insert tasks that have been held for ``days`` days; return their ids."""
    ids = hold(claimed(number, processor=processor, **task))
    since = timezone.now() - timedelta(days=days)
    Task.objects.filter(pk__in=ids).update(unregistered_since=since)
    return ids


def find_held(manager: UUID, *unknown: str) -> list[HeldProcessor]:
    return sorted(holding.find_held(connection, "default", manager, unknown))


def fail(days: float = 1.0, limit: int = 10) -> list[int]:
    """Fail tasks that have been held for ``days`` days; return their ids."""
    failed = holding.fail_expired(
        connection, "default", days * 86_400, limit, ("Unregistered", ERROR), EXPIRED
    )
    return [task.id for task in failed]


def test_a_task_that_is_set_aside_waits_as_it_was_before_its_claim(manager):
    key = uuid4()
    task = insert(key=key, processor="Gone")
    Task.objects.update(attempts=3, retries=2, postpones=1, crashes=1, takeovers=1)

    hold([claim_one(manager())])

    row = Task.objects.get()
    assert (row.status, row.ready, row.held, row.unique_key) == ("new", False, "unregistered", key)
    assert (row.claim_token, row.claimed_by, row.finished_at, row.error_reason) == (None, None, None, None)
    assert (row.attempts, row.retries, row.postpones, row.crashes, row.takeovers) == (3, 2, 1, 1, 1)
    assert row.execute_after == task.execute_after
    assert row.unregistered_since is not None


def test_a_row_that_an_earlier_version_settled_is_not_held(manager):
    """An earlier version promotes such rows, and does not clear ``held`` when it settles them."""
    held(2)
    Task.objects.update(status="finished")

    assert find_held(manager()) == []


def test_neither_claims_nor_looks_see_it_and_it_is_counted_apart(manager):
    one = manager()
    held(2, execute_after=timezone.now() - timedelta(minutes=1))
    insert(execute_after=timezone.now() + timedelta(hours=1))

    assert check_queue(connection, "default", 10)[:2] == (0, False)
    assert claim(connection, "default", one, new_token(), 10) == []
    assert (waiting(connection, "default").number, waiting(connection, "default").held) == (1, 2)
    assert list(Task.objects.held().values_list("processor_class")) == [("Gone",)] * 2


def test_set_aside_again_it_keeps_since_when_and_any_other_outcome_forgets_it():
    [pk] = held(days=3)
    since = columns(pk, "unregistered_since")
    holding.resume(connection, "default", "Gone", 1, is_known=False)
    assert columns(pk, "unregistered_since") == since

    hold([claim_one(register())])
    assert columns(pk, "unregistered_since") == since

    holding.resume(connection, "default", "Gone", 1, is_known=False)
    row = claim_one(register())
    apply_changes(connection, [RowChange(row[ID], row[TOKEN], "new", postpones=1)])
    assert columns(pk, "unregistered_since", "held") == (None, None)


def register(*processors: str, queue: str = "default") -> UUID:
    """Insert the row of a manager that can run ``processors``; return its id."""
    identity = uuid4()
    ManagerLease.objects.create(
        id=identity, queue_name=queue, host="here", pid=1, lock_name=uuid4(), lease_seconds=30
    )
    if processors:
        holding.publish(connection, identity, processors)
    return identity


def test_a_manager_publishes_what_it_can_run_and_keeps_the_rest_of_its_state():
    one = register()
    ManagerLease.objects.update(state={"totals": 1})

    for processors in ("Bill", "Letter"), ("Letter",):
        holding.publish(connection, one, processors)
        assert ManagerLease.objects.get().state == {"totals": 1, "processors": sorted(processors)}


def test_a_look_names_each_processor_of_which_rows_are_set_aside_once_and_those_asked_for():
    one = register("Letter")
    held(3, "Gone")
    held(2, "Late")
    hold(claimed(1, processor="Paused"), "paused")
    held(1, "Elsewhere", queue="mail")

    assert find_held(one, "Late", "Never") == [
        HeldProcessor("Gone", True, False),
        HeldProcessor("Late", True, False),
        HeldProcessor("Never", False, False),
    ]


@pytest.mark.parametrize(
    ("queue", "age", "is_known"), [("default", 0, True), ("default", 31, False), ("mail", 0, False)]
)
def test_a_look_says_whether_another_live_manager_of_the_queue_knows_the_processor(queue, age, is_known):
    one = register("Gone", "Mine")
    other = register("Gone", queue=queue)
    ManagerLease.objects.filter(pk=other).update(heartbeat_at=timezone.now() - timedelta(seconds=age))
    held(1)

    assert find_held(one, "Mine") == [
        HeldProcessor("Gone", True, is_known),
        HeldProcessor("Mine", False, False),
    ]


def test_the_first_by_priority_are_resumed_and_wake_a_manager_that_sleeps():
    late, urgent, scheduled = held(1, priority=20), held(1, priority=1), held(1, priority=2)
    held(1, "Other")
    Task.objects.filter(pk__in=scheduled).update(execute_after=timezone.now() + timedelta(hours=1))
    ManagerLease.objects.filter(pk=register()).update(sleeping=True)

    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    assert holding.resume(connection, "default", "Gone", 2) == 2
    assert holding.resume(connection, "default", "Gone", 2) == 1
    assert holding.resume(connection, "default", "Gone", 2) == 0

    assert [row[ID] for row in claim(connection, "default", register(), new_token(), 9)] == [*urgent, *late]
    assert columns(scheduled[0], "status", "ready", "held") == ("new", False, None)
    assert Task.objects.held().get().processor_class == "Other"


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_transaction_locks_is_neither_waited_for_nor_lost(second):
    ids = held(3)

    with transaction.atomic():
        Task.objects.select_for_update().get(pk=ids[0])
        assert holding.resume(second, "default", "Gone", 10) == 2

    assert holding.resume(second, "default", "Gone", 10) == 1


def test_what_nobody_has_known_for_too_long_fails_the_longest_first_and_counts_nothing():
    register("Letter")
    young, old, oldest = held(1, days=0.9), held(1, days=2), held(1, "It's %s", days=3)
    ManagerLease.objects.filter(pk=register("Gone")).update(heartbeat_at=timezone.now() - timedelta(hours=1))

    assert [fail(limit=1), fail(), fail()] == [oldest, old, []]

    assert Task.objects.held().get().pk == young[0]
    row = Task.objects.get(pk=oldest[0])
    assert (row.status, row.ready, row.held, row.unregistered_since) == ("error", False, None, None)
    assert (row.error_reason, row.error_type, row.attempts) == ("unregistered", "Unregistered", 0)
    assert row.error_message == "no processor is registered as It's %s"
    assert row.finished_at is not None


@pytest.mark.parametrize("queue", ["default", "mail"])
def test_what_a_live_manager_of_the_queue_knows_does_not_fail(queue):
    ids = held(1, days=2)
    register("Gone", queue=queue)

    assert fail() == ([] if queue == "default" else ids)


def test_a_row_that_an_older_manager_promoted_is_claimed_and_no_longer_set_aside(manager):
    [pk] = held(1)
    Task.objects.update(ready=True)

    claim_one(manager())

    assert columns(pk, "status", "held") == ("in_process", None)


@pytest.mark.parametrize("behind", [None, (0, 0)])
def test_a_claim_and_a_look_leave_out_processors_that_are_left_to_others(behind, manager):
    others, mine = insert_many(3, "Other"), insert_many(2, "Letter")

    rows = claim(connection, "default", manager(), new_token(), 10, behind, without=["Other", "Third"])

    assert [row[ID] for row in rows] == mine
    assert check_queue(connection, "default", 10, without=["Other"]) == (0, False, None)
    assert check_queue(connection, "default", 10, without=["Third"]) == (0, True, None)
    assert set(Task.objects.filter(pk__in=others).values_list("status", "ready")) == {("new", True)}


def test_a_task_that_expired_while_it_was_held_ends_for_that_unless_it_may_have_started(manager):
    [late, begun, suspect, early] = held(4, days=2, expires_at=timezone.now() + timedelta(days=1))
    past = Task.objects.filter(pk__in=[late, begun, suspect])
    past.update(expires_at=timezone.now() - timedelta(hours=1))
    Task.objects.filter(pk=begun).update(attempts=1)
    Task.objects.filter(pk=suspect).update(takeovers=1)

    ended = holding.fail_expired(connection, "default", 86_400, 10, ("Unregistered", ERROR), EXPIRED)

    assert {(task.id, task.has_expired) for task in ended} == {
        (late, True), (begun, False), (suspect, False), (early, False),
    }  # fmt: skip
    assert columns(late, "error_reason", "error_type", "error_message") == ("expired", *EXPIRED)
    [entry] = columns(late, "history")
    assert (entry["reason"], entry["error_type"], entry["error_message"]) == ("expired", *EXPIRED)
    for task_id in (begun, suspect, early):
        assert columns(task_id, "error_reason", "error_type") == (UNREGISTERED, "Unregistered")
