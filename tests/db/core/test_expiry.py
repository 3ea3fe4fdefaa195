"""When tasks expire, according to the call or the processor, and what happens then."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from datetime import timezone as zone
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.test import override_settings
from django.utils import timezone

from django_partisan.engine.expiring import expire
from django_partisan.expiry import AS_DEFINED, expires_at
from django_partisan.models import Task
from django_partisan.moments import LATEST, LONGEST_DELAY_SECONDS
from django_partisan.processor import bulk_delay
from django_partisan.sql.claiming import ATTEMPTS, EXPIRES, ID, TAKEOVERS, TOKEN, TaskRow
from django_partisan.sql.row_changes import StoppedRun
from django_partisan.sql.settling import apply_changes, release
from django_partisan.sql.tokens import NO_CLAIM
from tests.support.registry import Idle
from tests.support.rows import claim, claim_one, columns, insert, pairs

pytestmark = pytest.mark.django_db

TOMORROW = timezone.now() + timedelta(days=1)
LATER = datetime(2999, 1, 2, 3, 4, 5, tzinfo=zone.utc)
MINUTE = timedelta(minutes=1)
NAIVE = LATER.replace(tzinfo=None)


class Letter(Idle):
    """A processor whose tasks expire only if the call says so."""


class Code(Idle):
    EXPIRES_SECONDS = 60


class Copy(Idle):
    UNIQUE_FOR_PARAMS = False
    EXPIRES_SECONDS = 0.5


def lifetime(task_id: int) -> timedelta | None:
    """Return the time between a task being due and expiring."""
    due_at, expiry = columns(task_id, "execute_after", "expires_at")
    return None if expiry is None else expiry - due_at


def seconds_left(row: TaskRow) -> float:
    left = row[EXPIRES]
    assert left is not None
    return left


@pytest.mark.parametrize(
    ("expires", "expected"),
    [(60, MINUTE), (0.25, timedelta(seconds=0.25)), (timedelta(hours=1), timedelta(hours=1)), (None, None)],
)
def test_seconds_count_from_when_the_task_is_due(expires: Any, expected: Any):
    now = Letter("now").delay(expires=expires)
    later = Letter("later").delay(expires=expires, execute_after=LATER)
    ids = bulk_delay([Letter("many"), Copy("many")], expires=expires)
    at = bulk_delay([Letter("many later")], expires=expires, execute_after=LATER)

    assert {lifetime(task_id) for task_id in (now.pk, later.pk, *ids, *at)} == {expected}
    assert now.expires_at == columns(now.pk, "expires_at")


def test_the_row_that_is_returned_is_as_it_is_stored():
    task = Letter().delay(expires=60)

    fields = [field.attname for field in Task._meta.concrete_fields]
    assert {name: task.__dict__[name] for name in fields} == Task.objects.values(*fields).get()


def test_a_moment_is_a_moment_whenever_the_task_is_due():
    task = Letter(1).delay(expires=TOMORROW, execute_after=LATER)
    [other] = bulk_delay([Letter(2)], expires=TOMORROW)

    assert columns(task.pk, "expires_at") == columns(other, "expires_at") == TOMORROW == task.expires_at


@override_settings(USE_TZ=False)
def test_without_time_zones_a_moment_is_local():
    task = Letter().delay(expires=NAIVE)

    assert Task.objects.get(pk=task.pk).expires_at == NAIVE


@pytest.mark.parametrize(
    "due_at", [datetime.min.replace(tzinfo=zone.utc), timezone.now() - timedelta(days=1)]
)
def test_of_a_task_that_is_due_since_earlier_they_count_from_now(due_at: datetime):
    ids = [Letter(1).delay(expires=60, execute_after=due_at).pk, *bulk_delay([Code(1)], execute_after=due_at)]

    for task_id in ids:
        assert MINUTE / 2 < columns(task_id, "expires_at") - timezone.now() <= MINUTE


def test_an_expiry_is_no_later_than_python_can_represent():
    never = datetime.max.replace(tzinfo=zone.utc)
    ids = [
        Letter(1).delay(expires=LONGEST_DELAY_SECONDS, execute_after=never).pk,
        Letter(2).delay(expires=never).pk,
        *bulk_delay([Letter(3)], expires=60, execute_after=never),
    ]

    assert {columns(task_id, "expires_at") for task_id in ids} == {LATEST}


def test_the_processor_says_it_unless_the_call_does():
    ids = bulk_delay([Letter(1), Code(1), Copy(1)])
    own = Code(2).delay(), Code(3).delay(expires=5), Code(4).delay(expires=None)

    assert [lifetime(task_id) for task_id in ids] == [None, MINUTE, timedelta(seconds=0.5)]
    assert [lifetime(task.pk) for task in own] == [MINUTE, timedelta(seconds=5), None]
    assert repr(AS_DEFINED) == "EXPIRES_SECONDS"


def test_after_the_transaction_seconds_count_from_when_it_is_enqueued(django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        Letter(1).delay_on_commit(expires=60)
        Code(1).delay_on_commit()

    assert {lifetime(task_id) for task_id in Task.objects.values_list("pk", flat=True)} == {MINUTE}


async def enqueued(call: Awaitable[Task]) -> Task:
    try:
        return await call
    finally:
        await sync_to_async(connections.close_all)()  # of the thread that asgiref used


@pytest.mark.django_db(transaction=True)
def test_asynchronous_code_says_it_too():
    task = asyncio.run(enqueued(Letter(1).adelay(expires=60)))
    other = asyncio.run(enqueued(Code(1).adelay()))

    assert [lifetime(one.pk) for one in (task, other)] == [MINUTE, MINUTE]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (LONGEST_DELAY_SECONDS + 1, ValueError),
        (timedelta(0), ValueError),
        (timedelta.max, ValueError),
        (True, TypeError),
        ("60", TypeError),
    ],
)
def test_what_no_task_can_expire_after_is_refused(wrong: Any, error: type[Exception]):
    for call in (lambda: Letter().delay(expires=wrong), lambda: bulk_delay([Letter()], expires=wrong)):
        with pytest.raises(error) as refused:
            call()

        assert str(refused.value).startswith(
            f"Letter: expires is {wrong!r}; expected a number of seconds, above 0"
        )
    assert not Task.objects.exists()


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match=r"^Letter: expires is datetime.* which has no time zone"):
        Letter().delay(expires=NAIVE)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "latest"),
    [(60, 120, 120), (120, 60, 120), (60, None, None), (None, 60, None), (None, None, None)],
)
def test_a_waiting_duplicate_gets_the_later_expiry_and_none_is_the_latest(first, second, latest, many):
    with transaction.atomic():
        task = Letter(1).delay(execute_after=LATER, expires=first)

        if many:
            bulk_delay([Letter(1), Letter(2)], execute_after=LATER, expires=second)
        else:
            duplicate = Letter(1).delay(execute_after=LATER, expires=second)
            assert duplicate.is_duplicate
            assert duplicate.expires_at == columns(task.pk, "expires_at")

    assert lifetime(task.pk) == (None if latest is None else timedelta(seconds=latest))


def test_the_expiry_of_a_moment_is_that_of_a_tick():
    assert expires_at(LATER, None) is None
    assert expires_at(LATER, 1.5) == LATER + timedelta(seconds=1.5)
    assert expires_at(datetime.max.replace(tzinfo=zone.utc), 60) == LATEST


def test_a_claim_says_in_how_many_seconds_each_task_expires(manager):
    Letter(1).delay()
    Letter(2).delay(expires=60)
    Letter(3).delay(expires=timezone.now() - MINUTE)

    never, *expiring = claim(connection, "default", manager(), 3)

    later, before = map(seconds_left, expiring)
    assert never[EXPIRES] is None
    assert 0 < later <= 60
    assert before <= -60


def test_an_expired_task_ends_as_an_error_without_an_attempt(manager):
    Letter(1).delay(expires=timezone.now() - MINUTE)
    row = claim_one(manager())

    assert apply_changes(connection, [expire(row)]) == []

    task = Task.objects.get()
    assert (task.status, task.error_reason, task.attempts, task.started_at) == ("error", "expired", 0, None)
    assert task.error_type == "django_partisan.exceptions.TaskExpired"
    assert task.error_message == "The task expired before it started."
    assert (task.error_traceback, task.claim_token) == ("", NO_CLAIM)
    [entry] = columns(task.pk, "history")
    assert (entry["outcome"], entry["reason"], "attempt" in entry) == ("failed", "expired", False)


def test_requeueing_clears_the_expiry(manager):
    task = Letter(1).delay(expires=timezone.now() - MINUTE)
    apply_changes(connection, [expire(claim_one(manager()))])

    assert Task.objects.requeue() == 0
    assert Task.objects.requeue(reasons=["expired"]) == 1

    assert columns(task.pk, "expires_at") is None
    assert claim_one(manager())[EXPIRES] is None


def test_a_release_and_a_second_claim_keep_the_expiry(manager):
    insert(expires_at=TOMORROW)
    row = claim_one(manager())

    release(connection, pairs([row]))
    again = claim_one(manager())

    assert (again[ID], again[ATTEMPTS], again[TAKEOVERS]) == (row[ID], 0, 0)
    assert again[TOKEN] != row[TOKEN]
    assert seconds_left(again) < seconds_left(row)


def test_a_task_whose_run_was_stopped_does_not_expire_any_more_and_those_behind_it_do(manager):
    started, other = [insert(expires_at=TOMORROW).pk for _ in range(2)]
    rows = {row[ID]: row for row in claim(connection, "default", manager(), 2)}

    release(connection, [StoppedRun(started, rows[started][TOKEN]), *pairs([rows[other]])])

    assert columns(started, "status", "expires_at", "attempts") == ("new", None, 0)
    assert columns(other, "status", "expires_at") == ("new", TOMORROW)
