"""Managers that live, managers that are gone, and what those held."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_partisan.models import ManagerLease, Task
from django_partisan.sql.claiming import ID, TOKEN, claim
from django_partisan.sql.leasing import adopt, beat, bury, keep, register, resign, unheard
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

    assert beat(connection, "default", one) == (True, False, [])
    assert timezone.now() - ManagerLease.objects.get().heartbeat_at < timedelta(minutes=1)


def test_a_heartbeat_without_a_row_says_so(manager):
    one, other = manager(), manager()
    resign(connection, one)

    found = beat(connection, "default", one)

    assert not found.is_alive
    assert [colleague.id for colleague in found.colleagues] == [other]


def test_a_heartbeat_tells_of_colleagues_of_the_same_queue_and_whether_their_lease_ran_out(manager):
    one, alive, late = manager(), manager(host="there"), manager()
    manager("mail")
    expire(late)

    found = {colleague.id: colleague for colleague in beat(connection, "default", one).colleagues}

    assert set(found) == {alive, late}
    assert (found[alive].host, found[alive].is_expired) == ("there", False)
    assert found[alive].lock_name == ManagerLease.objects.get(pk=alive).lock_name
    assert found[late].is_expired


def test_a_heartbeat_tells_of_tasks_that_nobody_looks_after(manager):
    gone, one = manager(), manager()
    held_by(gone)
    before = beat(connection, "default", one).has_orphans

    resign(connection, gone)

    assert not before
    assert beat(connection, "default", one).has_orphans
    assert not beat(connection, "mail", one).has_orphans


def test_a_task_of_version_1_names_no_manager_and_is_an_orphan(manager):
    insert()
    Task.objects.update(status="in_process")

    assert beat(connection, "default", manager()).has_orphans


def test_those_who_are_gone_or_late_are_buried_and_nobody_else(manager):
    one, gone, late, alive = (manager() for _ in range(4))
    elsewhere = manager("mail")
    expire(one)
    expire(late)
    expire(elsewhere)

    bury(connection, "default", one, [gone])

    assert set(ManagerLease.objects.values_list("pk", flat=True)) == {one, alive, elsewhere}


def test_burying_names_no_one_of_another_queue(manager):
    one, elsewhere = manager(), manager("mail")

    bury(connection, "default", one, [elsewhere])

    assert ManagerLease.objects.filter(pk=elsewhere).exists()


def test_orphans_are_claimed_in_place_in_running_order_under_a_new_token(manager):
    gone, one = manager(), manager()
    ids = {priority: insert(priority=priority).pk for priority in (5, 1, 3)}
    tokens = {row[TOKEN] for row in claim(connection, "default", gone, 3)}
    resign(connection, gone)

    orphans = adopt(connection, "default", one, [])

    assert [orphan.row[ID] for orphan in orphans] == [ids[1], ids[3], ids[5]]
    assert {orphan.previous_manager for orphan in orphans} == {gone}
    assert {orphan.row[TOKEN] for orphan in orphans}.isdisjoint(tokens)
    assert set(Task.objects.values_list("status", "claimed_by")) == {("in_process", one)}


def test_a_crash_is_counted_only_for_tasks_known_to_have_begun(manager):
    gone, one = manager(), manager()
    begun, waiting = held_by(gone, 2)
    resign(connection, gone)

    adopt(connection, "default", one, [begun])

    assert columns(begun, "crashes", "attempts") == (1, 1)
    assert columns(waiting, "crashes", "attempts") == (0, 0)


def test_a_task_of_version_1_is_taken_over_from_nobody(manager):
    pk = insert().pk
    Task.objects.update(status="in_process")

    [orphan] = adopt(connection, "default", manager(), [])

    assert (orphan.row[ID], orphan.previous_manager) == (pk, None)


def test_what_a_living_manager_or_another_queue_holds_is_left_alone(manager):
    alive, elsewhere, one = manager(), manager("mail"), manager()
    held_by(alive)
    held_by(elsewhere, queue="mail")
    resign(connection, elsewhere)

    assert adopt(connection, "default", one, []) == []


@pytest.mark.django_db(transaction=True)
def test_two_managers_that_take_over_at_the_same_time_share_nothing_and_wait_for_nothing(second, manager):
    gone, one, other = manager(), manager(), manager()
    held_by(gone, 2)
    resign(connection, gone)

    with transaction.atomic():
        mine = adopt(connection, "default", one, [])
        theirs = adopt(second, "default", other, [])

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


def test_a_claim_whose_answer_was_lost_is_claimed_anew_in_running_order(manager):
    one, other = manager(), manager()
    [known] = held_by(one)
    held_by(other)
    ids = {priority: insert(priority=priority).pk for priority in (7, 3)}
    tokens = {row[TOKEN] for row in claim(connection, "default", one, 5)}

    rows = unheard(connection, "default", one, [known])

    assert [row[ID] for row in rows] == [ids[3], ids[7]]
    assert {row[TOKEN] for row in rows}.isdisjoint(tokens)
    assert unheard(connection, "mail", one, []) == []
