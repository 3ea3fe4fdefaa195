"""Managers that live, managers that are dead, and what those held."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_partisan.models import ManagerLease, Task
from django_partisan.sql.claiming import ID, TOKEN, claim, set_sleeping
from django_partisan.sql.leasing import claim_unknown, deregister, heartbeat, keep, register, rescue
from tests.support.rows import columns, insert

pytestmark = pytest.mark.django_db


def expire(manager) -> None:
    ManagerLease.objects.filter(pk=manager).update(heartbeat_at=timezone.now() - timedelta(minutes=5))


def held_by(manager, number: int = 1, queue: str = "default") -> list[int]:
    for _ in range(number):
        insert(queue)
    return [row[ID] for row in claim(connection, queue, manager, number)]


def test_a_manager_is_registered_awake_and_alive_from_now_on():
    identity, lock = uuid4(), uuid4()

    register(connection, identity, "mail", "host", 4711, lock, 12.5)

    stored = ManagerLease.objects.get()
    assert (stored.pk, stored.queue_name, stored.host, stored.pid) == (identity, "mail", "host", 4711)
    assert (stored.lock_name, stored.lease_seconds, stored.sleeping) == (lock, 12.5, False)
    assert stored.started_at == stored.heartbeat_at
    assert abs(timezone.now() - stored.heartbeat_at) < timedelta(minutes=1)
    assert str(stored) == "mail at host:4711"


def test_a_heartbeat_renews_the_lease_and_finds_nothing_where_all_is_well(manager):
    one = manager()
    expire(one)
    held_by(one)

    assert heartbeat(connection, "default", one) == (True, False, [], ())
    assert timezone.now() - ManagerLease.objects.get().heartbeat_at < timedelta(minutes=1)


def test_a_heartbeat_without_a_row_says_so(manager):
    one, other = manager(), manager()
    deregister(connection, one)

    found = heartbeat(connection, "default", one)

    assert not found.is_alive
    assert [manager.id for manager in found.others] == [other]


def test_a_heartbeat_finds_which_other_managers_serve_the_queue_expired_ones_and_sleeping_ones(
    manager,
):
    one, alive, late = manager(), manager(host="there"), manager()
    manager("mail")
    expire(late)
    set_sleeping(connection, alive, True)

    found = {row.id: row for row in heartbeat(connection, "default", one).others}

    assert set(found) == {alive, late}
    assert (found[alive].host, found[alive].is_expired) == ("there", False)
    assert found[alive].lock_name == ManagerLease.objects.get(pk=alive).lock_name
    assert found[late].is_expired
    assert (found[alive].is_sleeping, found[late].is_sleeping) == (True, False)


def test_a_heartbeat_finds_whether_tasks_are_abandoned(manager):
    dead, one = manager(), manager()
    held_by(dead)
    before = heartbeat(connection, "default", one).has_abandoned

    deregister(connection, dead)

    assert not before
    assert heartbeat(connection, "default", one).has_abandoned
    assert not heartbeat(connection, "mail", one).has_abandoned


def test_managers_that_are_dead_or_late_are_deleted_and_none_of_another_queue(manager):
    one, dead, late, alive = (manager() for _ in range(4))
    elsewhere, named = manager("mail"), manager("mail")
    for expired in (one, late, elsewhere):
        expire(expired)

    rescue(connection, "default", one, [dead, named], [])

    assert set(ManagerLease.objects.values_list("pk", flat=True)) == {one, alive, elsewhere, named}


def test_abandoned_tasks_are_claimed_in_place_in_running_order_under_a_new_token(manager):
    dead, one = manager(), manager()
    ids = {priority: insert(priority=priority).pk for priority in (5, 1, 3)}
    tokens = {row[TOKEN] for row in claim(connection, "default", dead, 3)}
    deregister(connection, dead)

    rescued = rescue(connection, "default", one, [], [])

    assert [task.row[ID] for task in rescued] == [ids[1], ids[3], ids[5]]
    assert {task.previous_manager for task in rescued} == {dead}
    assert {task.row[TOKEN] for task in rescued}.isdisjoint(tokens)
    assert set(Task.objects.values_list("status", "claimed_by")) == {("in_process", one)}


def test_a_crash_is_counted_only_for_tasks_known_to_have_begun(manager):
    dead, one = manager(), manager()
    begun, waiting = held_by(dead, 2)
    deregister(connection, dead)

    rescue(connection, "default", one, [], [begun])

    assert columns(begun, "crashes", "attempts") == (1, 1)
    assert columns(waiting, "crashes", "attempts") == (0, 0)


def test_what_a_living_manager_or_another_queue_holds_is_left_alone(manager):
    alive, elsewhere, one = manager(), manager("mail"), manager()
    held_by(alive)
    held_by(elsewhere, queue="mail")
    deregister(connection, elsewhere)

    assert rescue(connection, "default", one, [], []) == []


@pytest.mark.django_db(transaction=True)
def test_two_managers_that_rescue_at_the_same_time_share_nothing_and_wait_for_nothing(second, manager):
    dead, one, other = manager(), manager(), manager()
    held_by(dead, 2)
    deregister(connection, dead)

    with transaction.atomic():
        mine = rescue(connection, "default", one, [], [])
        theirs = rescue(second, "default", other, [], [])

    assert len(mine) == 2
    assert theirs == []


def test_a_manager_with_a_new_identity_keeps_what_nobody_else_took(manager):
    one, other = manager(), manager()
    kept, taken = held_by(one, 2)
    token = columns(kept, "claim_token")
    Task.objects.filter(pk=taken).update(claimed_by=other)
    again = manager()

    assert keep(connection, "default", again, one) == {kept}
    assert columns(kept, "claimed_by", "claim_token") == (again, token)
    assert columns(taken, "claimed_by") == other


def test_a_claim_whose_answer_was_lost_is_claimed_again_in_running_order(manager):
    one, other = manager(), manager()
    [known] = held_by(one)
    held_by(other)
    ids = {priority: insert(priority=priority).pk for priority in (7, 3)}
    tokens = {row[TOKEN] for row in claim(connection, "default", one, 5)}

    rows = claim_unknown(connection, "default", one, [known])

    assert [row[ID] for row in rows] == [ids[3], ids[7]]
    assert {row[TOKEN] for row in rows}.isdisjoint(tokens)
    assert claim_unknown(connection, "mail", one, []) == []
