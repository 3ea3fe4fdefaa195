"""Live managers, dead managers, and the tasks that dead ones held."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from django_partisan.models import CancelRequest, ManagerLease, Task
from django_partisan.sql.claiming import ID, TOKEN, set_sleeping
from django_partisan.sql.leasing import HeartbeatResult, deregister, heartbeat, register
from django_partisan.sql.rescuing import rescue
from django_partisan.sql.tokens import new_token
from tests.support.rows import claim, columns, dead, insert

pytestmark = pytest.mark.django_db


def expire(manager) -> None:
    ManagerLease.objects.filter(pk=manager).update(heartbeat_at=timezone.now() - timedelta(minutes=5))


def held_by(manager, number: int = 1, queue: str = "default") -> list[int]:
    for _ in range(number):
        insert(queue)
    return [row[ID] for row in claim(connection, queue, manager, number)]


def rescue_with(manager, using=connection, **known) -> list[int]:
    """Rescue the tasks of the dead managers in ``known``; return the ids of the tasks."""
    rescued = rescue(using, "default", manager, new_token(), dead(**known))
    return [task.row[ID] for task in rescued]


def test_a_manager_is_registered_awake_and_alive_from_now_on():
    identity, lock = uuid4(), uuid4()

    register(connection, identity, "mail", "host", 4711, lock, 12.5)

    stored = ManagerLease.objects.get()
    assert (stored.pk, stored.queue_name, stored.host, stored.pid) == (identity, "mail", "host", 4711)
    assert (stored.lock_name, stored.lease_seconds, stored.sleeping) == (lock, 12.5, False)
    assert stored.started_at == stored.heartbeat_at
    assert abs(timezone.now() - stored.heartbeat_at) < timedelta(minutes=1)
    assert str(stored) == "mail at host:4711"


def test_the_row_of_a_worker_without_its_manager_says_that_it_claims_nothing(manager):
    one, worker = manager(), uuid4()

    register(connection, worker, "default", "host", 4711, uuid4(), 30, is_serving=False)

    [found] = heartbeat(connection, "default", one).others
    [other] = heartbeat(connection, "default", worker).others
    assert (found.id, found.is_serving, found.is_expired) == (worker, False, False)
    assert (other.id, other.is_serving) == (one, True)
    named = str(ManagerLease.objects.get(pk=worker))
    assert named == "default at host:4711, a worker without its manager"


def test_a_heartbeat_renews_the_lease_and_finds_nothing_where_all_is_well(manager):
    one = manager()
    expire(one)
    held_by(one)

    assert heartbeat(connection, "default", one) == HeartbeatResult(True, 1, False, False, [])
    assert timezone.now() - ManagerLease.objects.get().heartbeat_at < timedelta(minutes=1)


def test_a_heartbeat_finds_whether_there_are_requests_to_cancel_tasks(manager):
    one = manager()
    CancelRequest.objects.create(task_id=1)

    assert heartbeat(connection, "default", one).has_cancel_requests


@pytest.mark.parametrize(
    ("row", "has_held"),
    [
        ({"held": "unregistered"}, True),
        ({"held": "unregistered", "queue_name": "mail"}, False),
        ({"held": "unregistered", "status": "finished"}, False),
        ({"held": "limit"}, False),
        ({"held": None}, False),
    ],
    ids=["held", "of another queue", "settled by an earlier version", "for another reason", "not held"],
)
def test_a_heartbeat_finds_whether_tasks_of_the_queue_are_held_as_no_manager_knew_them(
    row, has_held, manager
):
    insert()
    Task.objects.filter(pk=insert().pk).update(ready=False, **row)

    assert heartbeat(connection, "default", manager()).has_held is has_held


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


def test_a_heartbeat_counts_our_tasks_and_finds_who_else_holds_any(manager):
    one, holding, idle = manager(), manager(), manager()
    held_by(one, 3)
    held_by(holding)

    found = heartbeat(connection, "default", one)

    assert found.claimed == 3
    assert {other.id: other.has_tasks for other in found.others} == {holding: True, idle: False}


def test_a_heartbeat_finds_whether_tasks_are_abandoned(manager):
    dead, one = manager(), manager()
    held_by(dead)
    before = heartbeat(connection, "default", one).has_abandoned

    deregister(connection, dead)

    assert not before
    assert heartbeat(connection, "default", one).has_abandoned
    assert not heartbeat(connection, "mail", one).has_abandoned


def test_managers_that_are_dead_are_deleted_if_proven_or_expired_and_none_of_another_queue(manager):
    one, proven, late, alive, spared = (manager() for _ in range(5))
    elsewhere, named = manager("mail"), manager("mail")
    for expired in (one, late, spared, elsewhere):
        expire(expired)

    rescue_with(one, proven=[proven, named], expired=[late, alive])

    assert set(ManagerLease.objects.values_list("pk", flat=True)) == {one, alive, spared, elsewhere, named}


def test_abandoned_tasks_are_claimed_in_place_in_running_order_under_the_given_token(manager):
    gone, one = manager(), manager()
    ids = {priority: insert(priority=priority).pk for priority in (5, 1, 3)}
    claim(connection, "default", gone, 3)
    token = new_token()
    deregister(connection, gone)

    rescued = rescue(connection, "default", one, token, dead())

    assert [task.row[ID] for task in rescued] == [ids[1], ids[3], ids[5]]
    assert {task.previous_manager for task in rescued} == {gone}
    assert {task.row[TOKEN] for task in rescued} == {token}
    assert set(Task.objects.values_list("status", "claimed_by")) == {("in_process", one)}


def test_a_task_that_had_begun_counts_a_crash_and_one_of_which_nobody_knows_a_takeover(manager):
    seen, unseen, one = manager(), manager(), manager()
    begun, waiting = held_by(seen, 2)
    marked, unknown, former = held_by(unseen, 3)
    Task.objects.filter(pk__in=[marked, former]).update(started_at=F("claimed_at"))
    Task.objects.filter(pk=former).update(claimed_at=F("claimed_at") + timedelta(seconds=1))

    rescue_with(one, proven=[seen, unseen], inspected=[seen], begun=[begun])

    counts = {pk: columns(pk, "attempts", "crashes", "takeovers") for pk in (begun, waiting)}
    assert counts == {begun: (1, 1, 0), waiting: (0, 0, 0)}
    counts = {pk: columns(pk, "attempts", "crashes", "takeovers") for pk in (marked, unknown, former)}
    assert counts == {marked: (1, 1, 0), unknown: (0, 0, 1), former: (0, 0, 1)}


def test_a_rescue_says_how_long_ago_each_task_began_or_was_claimed(manager):
    one, other = manager(), manager()
    ran, marked, waiting = held_by(other, 3)
    Task.objects.update(claimed_at=timezone.now() - timedelta(seconds=90))
    Task.objects.filter(pk=marked).update(started_at=timezone.now() - timedelta(seconds=30))

    rescued = rescue(connection, "default", one, new_token(), dead(proven=[other], begun=[ran]))

    seconds = {task.row[ID]: task.ran_seconds for task in rescued}
    assert seconds == {
        ran: pytest.approx(90, abs=5),
        marked: pytest.approx(30, abs=5),
        waiting: None,
    }


def test_a_manager_whose_worker_still_runs_a_task_keeps_that_task_and_its_row(manager):
    gone, one = manager(), manager()
    running, waiting = held_by(gone, 2)

    rescued = rescue_with(one, proven=[gone], inspected=[gone], running=[running])

    assert rescued == [waiting]
    assert columns(running, "claimed_by") == gone
    assert rescue_with(one, proven=[gone]) == [running]
    assert not ManagerLease.objects.filter(pk=gone).exists()


def test_what_a_living_manager_or_another_queue_holds_is_left_alone(manager):
    alive, elsewhere, one = manager(), manager("mail"), manager()
    held_by(alive)
    held_by(elsewhere, queue="mail")
    deregister(connection, elsewhere)

    assert rescue_with(one, expired=[alive]) == []


@pytest.mark.django_db(transaction=True)
def test_two_managers_that_rescue_at_the_same_time_share_nothing_and_wait_for_nothing(second, manager):
    gone, one, other = manager(), manager(), manager()
    held_by(gone, 2)
    deregister(connection, gone)

    with transaction.atomic():
        mine = rescue_with(one)
        theirs = rescue_with(other, second)

    assert len(mine) == 2
    assert theirs == []
