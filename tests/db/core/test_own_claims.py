"""Which tasks in process belong to a manager, according to the table."""

from contextlib import closing

import pytest
from django.db import OperationalError, connection, transaction

from django_partisan.models import Task
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.connection import execute, open_connection
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.own_claims import claim_again, claims, mark_begun, move_claims
from django_partisan.sql.tokens import new_token
from tests.support.rows import claim, claimed, columns, insert, lock_of, pairs, register_manager

pytestmark = pytest.mark.django_db


def test_a_managers_claims_are_found_all_or_those_under_some_tokens():
    one, other = register_manager(), register_manager()
    first, second = claimed(2, one), claimed(1, one)
    claimed(1, other)

    assert sorted(claims(connection, "default", one)) == sorted(pairs(first + second))
    assert claims(connection, "default", one, [second[0][TOKEN], 1]) == pairs(second)
    assert claims(connection, "mail", one) == []


def test_tasks_are_claimed_again_in_running_order_under_a_new_token_unless_somebody_else_has_them():
    one, other = register_manager(), register_manager()
    ids = {priority: insert(priority=priority).pk for priority in (7, 3, 5)}
    found = pairs(claim(connection, "default", one, 3))
    Task.objects.filter(pk=ids[5]).update(claimed_by=other)
    (settled,) = claimed(1, one)
    Task.objects.filter(pk=settled[ID]).update(claim_token=None)
    token = new_token()

    rows = claim_again(connection, one, [*found, *pairs([settled])], token)

    assert [row[ID] for row in rows] == [ids[3], ids[7]]
    assert {row[TOKEN] for row in rows} == {token}


@pytest.mark.django_db(transaction=True)
def test_a_row_that_others_lock_does_not_hold_up_the_others_that_are_claimed_again():
    one = register_manager()
    locked, free = claimed(2, one)
    token = new_token()

    with closing(open_connection("other")) as other:
        other.set_autocommit(False)
        execute(other, lock_of(locked[ID]))
        with transaction.atomic():
            execute(connection, "SET LOCAL lock_timeout = 500")
            rows = claim_again(connection, one, pairs([locked, free]), token)

    assert pairs(rows) == [(free[ID], token)]
    assert columns(locked[ID], "claim_token") == locked[TOKEN], "a later question finds it"


def test_a_manager_with_a_new_identity_keeps_what_nobody_else_took():
    one, other = register_manager(), register_manager()
    kept, taken = claimed(2, one)
    Task.objects.filter(pk=taken[ID]).update(claimed_by=other)
    again = register_manager()

    assert move_claims(connection, "default", again, one) == {kept[ID]}
    assert columns(kept[ID], "claimed_by", "claim_token") == (again, kept[TOKEN])
    assert columns(taken[ID], "claimed_by") == other
    assert move_claims(connection, "default", again, one) == {kept[ID]}, "though the first answer was lost"


def test_a_task_is_marked_as_begun_under_its_claim_alone():
    [row] = claimed(1)

    assert not mark_begun(connection, row[ID], row[TOKEN] + 1)
    assert columns(row[ID], "started_at") is None
    assert mark_begun(connection, row[ID], row[TOKEN])
    started_at, claimed_at = columns(row[ID], "started_at", "claimed_at")
    assert started_at >= claimed_at


@pytest.mark.django_db(transaction=True)
def test_a_mark_does_not_wait_for_a_row_that_others_lock():
    [row] = claimed(1)
    other = open_connection("other")
    other.set_autocommit(False)
    execute(other, "SELECT FROM django_partisan_task FOR UPDATE")

    with pytest.raises(OperationalError) as raised:
        mark_begun(connection, row[ID], row[TOKEN])

    other.close()
    assert kind_of(raised.value) is ErrorKind.LOCKED
    assert mark_begun(connection, row[ID], row[TOKEN])
