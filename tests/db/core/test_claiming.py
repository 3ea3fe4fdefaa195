"""A claim takes due tasks, in order, and no tasks claimed by others."""

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone as django_timezone

from django_partisan.models import ManagerLease, Task
from django_partisan.sql.claiming import (
    ATTEMPTS,
    CONTEXT,
    CRASHES,
    ID,
    POSTPONES,
    PRIORITY,
    RETRIES,
    TOKEN,
    WAIT,
    check_queue,
    set_sleeping,
)
from tests.support.registry import Idle
from tests.support.rows import claim, claim_one, columns, insert, statuses

pytestmark = pytest.mark.django_db

LATER = datetime(2999, 1, 1, tzinfo=timezone.utc)


def ids_claimed(manager, limit: int = 100, behind: tuple[int, int] | None = None, queue: str = "default"):
    return [row[ID] for row in claim(connection, queue, manager, limit, behind)]


def seconds_from_now(seconds: float) -> datetime:
    return django_timezone.now() + timedelta(seconds=seconds)


def test_claims_take_the_first_up_to_their_limit_each_under_a_token_of_its_own(manager):
    ids = [insert().pk for _ in range(5)]
    one = manager()

    first, rest, none = (claim(connection, "default", one, limit) for limit in (2, 100, 100))

    assert [[row[ID] for row in rows] for rows in (first, rest, none)] == [ids[:2], ids[2:], []]
    assert {row[TOKEN] for row in first}.isdisjoint(row[TOKEN] for row in rest)


def test_a_claimed_task_is_in_process_and_names_its_manager_its_token_and_the_moment(manager):
    task = insert(key=uuid4())
    one = manager()

    row = claim_one(one)

    stored = Task.objects.get()
    assert (stored.status, stored.ready, stored.claimed_by) == ("in_process", False, one)
    assert stored.claim_token == row[TOKEN] > 0
    assert stored.claimed_at is not None
    assert stored.claimed_at >= task.created_at - timedelta(seconds=5)
    assert stored.unique_key == task.unique_key


def test_a_claimed_row_carries_what_a_worker_needs_and_never_a_wait_below_0(manager):
    pk = insert(priority=3, execute_after=seconds_from_now(-60), context='{"a": "b"}').pk
    Task.objects.update(attempts=4, retries=1, postpones=2, crashes=1)

    row = claim_one(manager())

    assert (row[ID], row[PRIORITY], row[CONTEXT]) == (pk, 3, '{"a": "b"}')
    assert (row[ATTEMPTS], row[RETRIES], row[POSTPONES], row[CRASHES]) == (4, 1, 2, 1)
    assert 59 < row[WAIT] < 120

    insert()
    Task.objects.update(execute_after=LATER)

    assert claim_one(manager())[WAIT] == 0


@pytest.mark.parametrize("status", ["in_process", "finished", "error"])
def test_only_waiting_tasks_are_claimed(status, manager):
    insert()
    Task.objects.update(status=status)

    assert ids_claimed(manager()) == []


def test_a_manager_without_a_row_claims_nothing(manager):
    insert()
    one = manager()
    ManagerLease.objects.all().delete()

    assert ids_claimed(one) == []
    assert ids_claimed(one, behind=(0, 0)) == []
    assert set(statuses().values()) == {"new"}


def test_a_claim_behind_a_row_sees_only_what_comes_after_it(manager):
    first, second, third = (insert(priority=5).pk for _ in range(3))
    urgent = insert(priority=1).pk
    later = insert(priority=6).pk
    one = manager()

    assert ids_claimed(one, behind=(5, first)) == [second, third, later]
    assert ids_claimed(one) == [urgent, first]


def test_looking_ahead_promotes_what_is_due_and_tells_when_the_next_will_be(manager):
    due = insert(execute_after=seconds_from_now(-1))
    Task.objects.update(ready=False)
    ahead = insert(execute_after=seconds_from_now(100))
    insert(execute_after=LATER)

    found = check_queue(connection, "default", 10)

    assert (found.promoted, found.any_due) == (1, True)
    assert found.next_due_in is not None
    assert 90 < found.next_due_in < 101
    assert columns(due.pk, "ready")
    assert not columns(ahead.pk, "ready")


@pytest.mark.django_db(transaction=True)
def test_looking_ahead_promotes_no_more_than_asked_the_longest_due_first_and_no_locked_row(second):
    ids = [insert(execute_after=seconds_from_now(-seconds)).pk for seconds in (10, 30, 20, 40)]
    Task.objects.update(ready=False)

    with transaction.atomic():
        Task.objects.select_for_update().get(pk=ids[3])
        found = check_queue(second, "default", 2)

    assert found.promoted == 2
    assert set(Task.objects.filter(ready=True).values_list("id", flat=True)) == {ids[1], ids[2]}


def test_looking_ahead_finds_tasks_that_are_ready_already_and_stays_in_its_queue():
    insert("mail", execute_after=seconds_from_now(-1))

    assert check_queue(connection, "default", 10) == (0, False, None)
    assert check_queue(connection, "mail", 10) == (0, True, None)


def test_a_manager_publishes_that_it_sleeps(manager):
    one, other = manager(), manager()

    set_sleeping(connection, one, True)

    assert ManagerLease.objects.get(sleeping=True).pk == one

    set_sleeping(connection, one, False)

    assert not ManagerLease.objects.get(pk=other).sleeping
    assert not ManagerLease.objects.filter(sleeping=True).exists()


@pytest.mark.django_db(transaction=True)
def test_two_claims_at_the_same_time_share_no_row_and_wait_for_nothing(second, manager):
    ids = [insert().pk for _ in range(4)]
    one, other = manager(), manager()

    with transaction.atomic():
        first = ids_claimed(one, limit=2)
        rest = [row[ID] for row in claim(second, "default", other, 10)]

    assert first == ids[:2]
    assert rest == ids[2:]


class Letter(Idle):
    pass


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_duplicate", [False, True])
def test_neither_a_new_task_nor_a_duplicate_is_claimed_before_the_enqueuers_commit(
    is_duplicate, second, manager
):
    if is_duplicate:
        Letter(1).delay()
    one = manager()

    with transaction.atomic():
        task = Letter(1).delay()
        during = claim(second, "default", one, 10)
    after = claim(second, "default", one, 10)

    assert during == []
    assert [row[ID] for row in after] == [task.pk]
