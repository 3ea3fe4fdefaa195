"""PostgreSQL crashes and loses claims whose commits were not flushed: no run is repeated without need."""

import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.waiting import wait_until

from .managing import ManagerProcess
from .own_database import OwnDatabase

HELD = 4
CLAIM_BY_ANOTHER = """
    INSERT INTO django_partisan_manager (id, queue_name, host, pid, lock_name, lease_seconds, started_at,
                                         heartbeat_at, sleeping)
    VALUES (gen_random_uuid(), 'default', 'elsewhere', 1, gen_random_uuid(), 30, now(), now(), false);
    UPDATE django_partisan_task
       SET status = 'in_process', ready = false, claim_token = id, claimed_at = now(), updated_at = now(),
           claimed_by = (SELECT id FROM django_partisan_manager WHERE host = 'elsewhere')
     WHERE status = 'new' AND id <= (SELECT min(id) + %d FROM django_partisan_task)
    RETURNING id
"""


@pytest.fixture
def manager(own: OwnDatabase) -> ManagerProcess:
    """A manager that runs two tasks and holds two more, under a claim that a crash will lose."""
    sizes = {"MIN_QUEUE_SIZE": 1, "MAX_QUEUE_SIZE": HELD}
    made = own.bench.ready(database=own.settings, LEASE_SECONDS=120, SLEEP_DELAY_SECONDS=1, **sizes)
    wait_until(lambda: own.execute("SELECT id FROM django_partisan_manager WHERE sleeping"))
    own.hold_back_flushes()
    own.enqueue("Wait", 0, 10)
    own.bench.wait_for("begun", 2)
    wait_until(lambda: own.count("status = 'in_process'") == HELD)
    return made


def claims(own: OwnDatabase, *conditions: str) -> list[tuple[Any, ...]]:
    where = " AND ".join(["status = 'in_process'", *conditions])
    return own.execute(f"SELECT id, claim_token FROM django_partisan_task WHERE {where} ORDER BY id")


def test_forgotten_claims_are_restored_and_no_task_runs_twice(own: OwnDatabase, manager: ManagerProcess):
    before = claims(own)
    [(crashed_at,)] = own.execute("SELECT now()::text")

    own.crash()

    wait_until(lambda: claims(own, f"claimed_at > '{crashed_at}'") == before)
    own.bench.open("gate")
    wait_until(lambda: own.count("status = 'finished' AND attempts = 1 AND crashes = 0") == 10)
    assert Counter(line["id"] for line in own.bench.journal("begun")).most_common(1)[0][1] == 1
    assert manager.logged("task.claim_lost") == []
    assert manager.stop() == 0


def test_what_another_manager_claims_after_a_crash_is_dropped_and_not_settled(
    own: OwnDatabase, manager: ManagerProcess
):
    manager.send(signal.SIGSTOP)
    own.crash()
    theirs = {task_id for (task_id,) in own.execute(CLAIM_BY_ANOTHER % (HELD - 1))}
    assert len(theirs) == HELD, "all claims were forgotten"
    running = {line["id"] for line in own.bench.journal("begun")}

    manager.send(signal.SIGCONT)
    wait_until(lambda: own.count("status = 'in_process'") > HELD)
    own.bench.open("gate")

    wait_until(lambda: own.count("status = 'finished'") == 10 - HELD)
    lost = manager.wait_for("task.claim_lost", 2)
    assert {int(event["partisan.task.id"]) for event in lost} == running
    begun = {line["id"] for line in own.bench.journal("begun")}
    assert begun & theirs == running, "the tasks that had not begun were dropped"
    assert {token for _, token in claims(own)} == theirs
    assert manager.stop() == 0
