"""What managers publish about their workers, and what is read from it."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import django_partisan
from django_partisan.models import ManagerLease, Task
from django_partisan.sql import holding, leasing
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.manager_state import (
    RUNS_AT_MOST,
    PublishedManager,
    Run,
    manager_state,
    publish,
    published_managers,
)
from tests.support.database import first_value
from tests.support.rows import claimed, register_manager

pytestmark = pytest.mark.django_db


def read() -> PublishedManager:
    [found] = published_managers(connection)
    return found


def test_a_heartbeat_publishes_what_runs_in_its_own_statement():
    manager = register_manager("mail")
    [row] = claimed(manager=manager, queue="mail")
    run = Run(row[ID], "Letter", 4250, 1, 12.5)
    state = manager_state([run], {"busy": 1}, is_draining=False)

    leasing.heartbeat(connection, "mail", manager, state)

    found = read()
    [shown] = found.runs
    assert (found.queue, found.host, found.pid) == ("mail", "elsewhere", 17)
    assert found.version == django_partisan.__version__
    assert shown._replace(seconds=0) == run._replace(seconds=0)
    assert 12.5 <= shown.seconds < 60
    assert found.totals == {"busy": 1}
    assert (found.is_alive, found.publishes_runs) == (True, True)
    assert (found.is_worker, found.is_draining, found.is_sleeping) == (False, False, False)


def test_to_publish_with_a_heartbeat_takes_no_statement_more():
    manager = register_manager()

    with CaptureQueriesContext(connection) as queries:
        leasing.heartbeat(connection, "default", manager, manager_state([], {"busy": 1}, is_draining=False))

    assert len(queries) == 1
    assert read().totals == {"busy": 1}


def test_a_heartbeat_without_a_state_leaves_the_last_one():
    manager = register_manager()
    publish(connection, manager, manager_state([], {"busy": 2}, is_draining=True))

    leasing.heartbeat(connection, "default", manager)

    assert (read().totals, read().is_draining) == ({"busy": 2}, True)


def test_what_is_published_leaves_the_processors_and_is_left_by_them():
    manager = register_manager()
    holding.publish(connection, manager, ["Letter"])
    publish(connection, manager, manager_state([], {"busy": 1}, is_draining=False))
    holding.publish(connection, manager, ["Bill"])

    state = ManagerLease.objects.get().state or {}

    assert (state["processors"], state["totals"], state["v"]) == (["Bill"], {"busy": 1}, 1)


def test_a_run_goes_on_after_it_was_published():
    manager = register_manager()
    [row] = claimed(manager=manager)
    publish(connection, manager, manager_state([Run(row[ID], "Letter", 1, 0, 5.0)], {}, is_draining=False))
    earlier = (timezone.now() - timedelta(seconds=60)).isoformat()
    state = {**(ManagerLease.objects.get().state or {}), "at": earlier}
    ManagerLease.objects.update(state=state)

    [run] = read().runs

    assert 60 < run.seconds < 120


def test_a_run_that_has_ended_or_is_held_by_another_manager_is_left_out():
    manager, other = register_manager(), register_manager()
    ended, taken, runs = claimed(3, manager=manager)
    state = manager_state(
        [Run(row[ID], "Letter", 1, 0, 1.0) for row in (ended, taken, runs)], {}, is_draining=False
    )
    publish(connection, manager, state)
    Task.objects.filter(pk=ended[ID]).delete()
    Task.objects.filter(pk=taken[ID]).update(claimed_by=other)

    found = {one.id: one for one in published_managers(connection, "default")}

    assert [run.task for run in found[manager].runs] == [runs[ID]]
    assert found[other].runs == ()


def test_of_many_runs_the_longest_are_published_in_bounded_size():
    runs = [Run(number, "L" * 255, 4_000_000, 1000, float(number)) for number in range(1000)]

    text = manager_state(runs, {}, is_draining=False)

    published = json.loads(text)["runs"]
    assert len(published) == RUNS_AT_MOST
    assert [run["task"] for run in published[:2]] == [999, 998]
    assert len(text) < 50_000


def test_a_worker_without_its_manager_shows_its_run():
    died, worker = register_manager(), uuid4()
    [row] = claimed(manager=died)
    run = Run(row[ID], "Letter", 18, None, 3.0)

    leasing.register(connection, worker, "default", "here", 18, worker, 30, is_serving=False, run=run)
    leasing.move_task(connection, worker, row[ID], row[TOKEN])

    found = next(one for one in published_managers(connection) if one.id == worker)
    [shown] = found.runs
    assert found.is_worker
    assert shown._replace(seconds=0) == run._replace(seconds=0)
    assert 3 <= shown.seconds < 60


@pytest.mark.parametrize(
    "state",
    [None, {}, [], {"processors": ["Letter"]}, {"role": "worker"}, {"runs": [], "totals": 3, "at": "no"}],
    ids=str,
)
def test_no_key_is_certain(state):
    manager = register_manager()
    ManagerLease.objects.filter(pk=manager).update(state=state, version=None)

    found = read()

    assert (found.runs, found.totals, found.version) == ((), {}, None)
    assert found.publishes_runs == (isinstance(state, dict) and "runs" in state)


def test_a_manager_whose_lease_has_expired_is_not_alive():
    register_manager(lease_seconds=30)
    ManagerLease.objects.update(heartbeat_at=F("heartbeat_at") - timedelta(seconds=40))

    found = read()

    assert not found.is_alive
    assert 40 <= found.heartbeat_seconds < 60


def test_the_moment_of_a_state_is_that_of_the_database():
    manager = register_manager()
    publish(connection, manager, manager_state([], {}, is_draining=False))

    written_at = "(state ->> 'at')::timestamptz"
    assert first_value(
        f"SELECT {written_at} BETWEEN now() AND clock_timestamp() FROM django_partisan_manager"
    )


@pytest.mark.parametrize(("number", "are_all"), [(RUNS_AT_MOST - 1, True), (RUNS_AT_MOST, False)])
def test_a_manager_with_as_many_runs_as_are_published_may_run_more(number, are_all):
    manager = register_manager()
    runs = [Run(place, "Letter", 1, 0, 1.0) for place in range(number)]  # they have ended since
    publish(connection, manager, manager_state(runs, {}, is_draining=False))

    assert (read().runs, read().publishes_all_runs) == ((), are_all)
