"""A history is extended by the statement that settles the run, stays small, and keeps both ends."""

import json
from datetime import datetime, timedelta, timezone
from random import Random
from time import monotonic
from typing import Any

import pytest
from django.db import connection

from django_partisan.models import ManagerLease, Task
from django_partisan.outcomes import COMPLETED, CRASHED, FAILED, POSTPONED, RETRIED
from django_partisan.sql import holding, rescuing
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.history import UNKNOWN_RUN, EndedRun, history_entry
from django_partisan.sql.row_changes import Crash, RowChange
from django_partisan.sql.settling import apply_changes, count_crashes, finish_completed
from django_partisan.sql.tokens import new_token
from tests.support.rows import claim_one, claimed, columns, dead, insert, kept

pytestmark = pytest.mark.django_db

LIMIT = 16 * 1024
HOSTILE = ('"', "\\", "\x01", "\n", "é", "\U0001f40c", "\ud800", "\0", "a")


def failure(outcome: str = RETRIED, run: EndedRun = UNKNOWN_RUN, **error: Any) -> RowChange:
    return RowChange(0, 0, "new", **error).after(outcome, run)


def settle(manager: Any, *changes: RowChange) -> list[dict[str, Any]]:
    """End the runs of one task in these ways, one after the other; return its history."""
    task, one = insert(), manager()
    for change in changes:
        row = claim_one(one)
        assert apply_changes(connection, [change._replace(id=row[ID], token=row[TOKEN])]) == []
    history: list[dict[str, Any]] = columns(task.pk, "history")
    return history


def size_of_history() -> int:
    [(text, stored)] = fetch_all(
        connection, "SELECT octet_length(history::text), pg_column_size(history) FROM django_partisan_task"
    )
    return int(max(text, stored))


def test_what_is_held_or_completes_at_the_first_attempt_has_no_history(manager):
    held, completed = claimed(2)

    apply_changes(connection, [RowChange.hold(held[ID], held[TOKEN], "unregistered")])
    finish_completed(connection, kept([completed], seconds=3.0))

    assert columns(held[ID], "history", "started_at", "worker") == (None, None, None)
    history, started_at, finished_at, worker = columns(
        completed[ID], "history", "started_at", "finished_at", "worker"
    )
    assert (history, worker) == (None, "elsewhere:17")
    assert timedelta(seconds=2.9) < finished_at - started_at < timedelta(seconds=10)


def test_only_equal_entries_in_a_row_become_one(manager):
    net: dict[str, Any] = {"error_type": "OSError", "error_message": "no net"}
    history = settle(
        manager,
        failure(**net, error_traceback="first"),
        failure(POSTPONED),
        failure(POSTPONED),
        failure(**net, error_traceback="second"),
        failure(**net, error_traceback="third"),
        failure(**net | {"error_message": "no route"}),
        failure(CRASHED, **net | {"error_message": "no route"}),
    )

    assert [(entry["outcome"], entry["attempt"], entry.get("count")) for entry in history] == [
        (RETRIED, 1, None),
        (POSTPONED, 3, 2),
        (RETRIED, 5, 2),
        (RETRIED, 6, None),
        (CRASHED, 7, None),
    ]
    assert [entry.get("traceback") for entry in history] == ["first", None, "third", None, None]


def test_a_count_goes_on_with_the_first_and_the_last_time(manager):
    now = monotonic()
    runs = [EndedRun(now - 60 + number, seconds=0.25, worker="here:1") for number in range(5)]
    [entry] = settle(manager, *[failure(POSTPONED, run) for run in runs])

    assert (entry["count"], entry["attempt"], entry["seconds"], entry["worker"]) == (5, 5, 0.25, "here:1")
    assert entry["first_ended_at"] <= entry["ended_at"]
    assert entry["first_started_at"] < entry["started_at"]


@pytest.mark.parametrize("seed", range(4))
def test_a_history_of_anything_stays_under_16_kib_and_keeps_the_first_and_the_last_entries(manager, seed):
    random = Random(seed)

    def text() -> str:
        return "".join(random.choices(HOSTILE, k=random.choice([0, 1, 10, 5000])))

    outcomes = [random.choice([POSTPONED, RETRIED, CRASHED]) for _ in range(40)]
    changes = []
    for number, outcome in enumerate(outcomes, 1):
        error = {
            "error_type": text(),
            "error_message": f"{number} {text()}",
            "error_traceback": text() + str(number),
        }
        made = history_entry(outcome, EndedRun(1.0, 0.5, "here:1"), comment=text(), **error)
        changes.append(RowChange(0, 0, "new", entry=made))
    history = settle(manager, *changes)

    attempts = [entry["attempt"] for entry in history]
    assert size_of_history() < LIMIT
    assert attempts == [1, *range(attempts[1], 41)]
    assert len(history) > 4
    assert history[-1]["error_message"].startswith("40 ")
    assert history[-1]["traceback"].endswith("40")


def test_many_small_entries_stay_under_16_kib_too(manager):
    outcomes = [POSTPONED, CRASHED] * 130
    history = settle(manager, *(RowChange(0, 0, "new", entry=history_entry(one)) for one in outcomes))

    assert size_of_history() < LIMIT
    assert (history[0]["attempt"], history[-1]["attempt"]) == (1, len(outcomes))


def test_a_long_traceback_is_kept_from_its_end_and_a_long_message_from_its_start():
    made = json.loads(history_entry(FAILED, error_message="m" * 5000, error_traceback="t" * 5000 + "end"))

    assert made["error_message"] == "m" * 1024
    assert made["traceback"] == "t" * 2045 + "end"


def test_a_crash_is_told_with_its_worker_while_the_claim_goes_on(manager):
    insert()
    row = claim_one(manager())
    crash = Crash(row[ID], row[TOKEN], row[TOKEN] + 1, history_entry(CRASHED, EndedRun(worker="here:1")))

    count_crashes(connection, [crash])

    [entry] = columns(row[ID], "history")
    assert (entry["outcome"], entry["attempt"], entry["worker"]) == (CRASHED, 1, "here:1")


def rescue(row: TaskRow, gone: Any, manager: Any) -> None:
    rescuing.rescue(connection, "default", manager(), new_token(), dead(proven=[gone], begun=[row[ID]]))


def test_a_run_that_ended_with_its_manager_is_told_with_the_host_and_one_that_had_not_begun_is_not(manager):
    gone = manager(host="web-1")
    begun, waits = claimed(2, gone)

    rescue(begun, gone, manager)

    [entry] = columns(begun[ID], "history")
    assert (entry["outcome"], entry["reason"], entry["attempt"]) == (CRASHED, "manager_lost", 1)
    assert entry["worker"] == "web-1"
    assert columns(waits[ID], "history") is None
    assert not ManagerLease.objects.filter(pk=gone).exists()


def test_a_failure_without_a_run_is_told_without_an_attempt(manager):
    [row] = claimed(1, processor="Gone")
    apply_changes(connection, [failure()._replace(id=row[ID], token=row[TOKEN])])
    row = claim_one(manager())
    apply_changes(connection, [RowChange.hold(row[ID], row[TOKEN], "unregistered")])
    long_ago = datetime(2026, 1, 1, tzinfo=timezone.utc)
    Task.objects.update(unregistered_since=long_ago)

    holding.fail_expired(
        connection, "default", 60.0, 10, ("app.Unregistered", "%s is unknown"), ("Expired", "late")
    )

    retried, failed = columns(row[ID], "history")
    assert retried["attempt"] == 1
    assert failed.keys() == {"outcome", "reason", "error_type", "error_message", "ended_at"}
    assert (failed["outcome"], failed["reason"]) == (FAILED, "unregistered")
    assert failed["error_message"] == "Gone is unknown"


def test_a_repeated_task_that_completes_is_finished_with_the_run_that_completed(manager):
    insert()
    one = manager()
    row = claim_one(one)
    apply_changes(connection, [failure()._replace(id=row[ID], token=row[TOKEN])])
    row = claim_one(one)

    apply_changes(connection, [RowChange.complete(row[ID], row[TOKEN], EndedRun(0.0, 0.5, "here:1"))])

    task = Task.objects.get()
    assert (task.status, task.attempts, task.ready, task.claim_token) == ("finished", 2, False, None)
    assert task.finished_at is not None
    assert columns(task.pk, "history")[-1]["outcome"] == COMPLETED
