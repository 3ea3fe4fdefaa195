"""A worker whose manager died settles what it ran, releases the rest, and keeps its running task."""

import errno
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import Error, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan.engine.judge import RAN, RunResult
from django_partisan.engine.liveness import read_liveness
from django_partisan.engine.outcome_writing import Kind
from django_partisan.engine.pipe import ManagerEnd, WorkerEnd
from django_partisan.engine.presence_folder import all_paths
from django_partisan.engine.protocol import RunTasks
from django_partisan.engine.worker.prefetch import PrefetchedTasks
from django_partisan.engine.worker.report import PendingReport, UnreportedRuns
from django_partisan.engine.worker.without_manager import WithoutManager
from django_partisan.models import ManagerLease
from django_partisan.sql import rescuing
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.tokens import new_token
from tests.support.database import open_transaction
from tests.support.engine import config_of
from tests.support.rows import claimed, columns, dead, lock_of, register_manager, statuses_of
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("temporary_folder")]

NOBODY = "no_such_database"


class WatchedReport(PendingReport):
    """A report that counts how often it was taken, which happens once for each write."""

    takes = 0

    def take_unreported(self) -> UnreportedRuns:
        self.takes += 1
        return super().take_unreported()


class Side:
    """The state of a worker whose manager has died; ``running`` is the task that it runs."""

    def __init__(self, lease_seconds: float) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.manager = register_manager(lease_seconds=lease_seconds)
        self.report = WatchedReport("default", lambda row, started: 0.0, keeps_completed=True)
        self.tasks = PrefetchedTasks(
            WorkerEnd(self.theirs.fileno()),
            -1,
            send_back=lambda ids: None,
            manager_lost=lambda: None,
            interrupt=lambda message: None,
            log_stacks=lambda: None,
        )
        self.running: TaskRow | None = None
        config = replace(config_of(), lease_seconds=lease_seconds)
        self.without_manager = WithoutManager(
            config, self.report, self.tasks, lambda: self.running, pause_seconds=0.01
        )

    def is_sent(self, *rows: TaskRow) -> None:
        ManagerEnd(self.ours.fileno()).send(RunTasks(list(rows), {}))

    def completes(self, row: TaskRow) -> None:
        self.report.add(row, RAN, 0.1, time.monotonic())

    @contextmanager
    def keeping(self) -> Iterator[threading.Thread]:
        """Run the control thread's loop for a run; the run ends with the block."""
        thread = threading.Thread(target=self.without_manager.keep_run)
        thread.start()
        yield thread
        self.running = None
        self.without_manager.finish()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def side_with() -> Iterator[Callable[[float], Side]]:
    """Return a function that makes such a worker, with a lease of ``lease_seconds``."""
    with ExitStack() as stack:

        def make(lease_seconds: float) -> Side:
            side = Side(lease_seconds)
            stack.callback(side.close)
            return side

        yield make


@pytest.fixture
def side(side_with: Callable[[float], Side]) -> Side:
    return side_with(30.0)


def own_rows() -> int:
    """Return how many manager rows have this process's id; rows made by tests have another."""
    return ManagerLease.objects.filter(pid=os.getpid()).count()


def row_that_holds(task: TaskRow) -> ManagerLease:
    """Wait until a manager row of this process holds a task; return the row."""
    rows = ManagerLease.objects.filter(pid=os.getpid())
    return wait_until(lambda: rows.filter(pk=holder(task)).first())  # type: ignore[return-value]


def holder(row: TaskRow) -> uuid.UUID:
    found: uuid.UUID = columns(row[ID], "claimed_by")
    return found


def test_all_outcomes_are_settled_under_the_claims_of_the_dead_manager_and_the_rest_is_released(side):
    done, failed, waits, underway = claimed(4, side.manager)
    side.completes(done)
    change = RowChange(failed[ID], failed[TOKEN], "error", reason="error")
    side.report.add(failed, RunResult("failed", change=change), 0.1, time.monotonic())
    side.is_sent(waits, underway)

    side.without_manager.finish()

    assert statuses_of(*(row[ID] for row in (done, failed, waits, underway))) == [
        "finished",
        "error",
        "new",
        "new",
    ]
    assert own_rows() == 0


def test_a_worker_that_runs_nothing_registers_no_row(side):
    [waits] = claimed(1, side.manager)
    side.is_sent(waits)

    with side.keeping():
        wait_until(lambda: statuses_of(waits[ID]) == ["new"])
        assert own_rows() == 0


def test_while_it_runs_a_task_it_holds_that_one_under_a_row_of_its_own_and_nothing_else(side):
    runs, done, waits = claimed(3, side.manager)
    side.running = runs
    side.completes(done)
    side.is_sent(waits)

    with side.keeping():
        row = row_that_holds(runs)
        wait_until(lambda: statuses_of(runs[ID], done[ID], waits[ID]) == ["in_process", "finished", "new"])
        assert columns(runs[ID], "claim_token") == runs[TOKEN]
        assert (row.queue_name, row.host, row.pid) == ("default", socket.gethostname(), os.getpid())
        assert row.is_worker
        assert [(run["task"], run["pid"]) for run in (row.state or {})["runs"]] == [(runs[ID], os.getpid())]
        liveness = read_liveness(row.lock_name)
        assert liveness is not None
        assert (liveness.manager_lives, liveness.running) == (True, [runs[ID]])
        side.completes(runs)

    assert statuses_of(runs[ID]) == ["finished"]
    assert own_rows() == 0
    assert read_liveness(row.lock_name) is None


def test_its_lease_is_renewed(side_with):
    side = side_with(0.3)
    [runs] = claimed(1, side.manager)
    side.running = runs
    with side.keeping():
        row = row_that_holds(runs)
        for _ in range(3):
            seen = row.heartbeat_at
            wait_until(lambda: ManagerLease.objects.get(pk=row.pk).heartbeat_at > seen)  # noqa: B023
            row.refresh_from_db()
    assert holder(runs) == row.pk


def test_a_task_that_another_manager_has_already_taken_over_is_not_changed(side):
    [runs] = claimed(1, side.manager)
    side.running = runs
    other = register_manager()
    rescuing.rescue(connection, "default", other, new_token(), dead(proven=[side.manager]))

    with side.keeping():
        wait_until(lambda: side.without_manager._lease._row is runs)
        assert own_rows() == 0
        side.completes(runs)

    assert (statuses_of(runs[ID]), holder(runs)) == (["in_process"], other)
    assert own_rows() == 0


@pytest.mark.parametrize("was_held", [False, True])
def test_where_another_manager_has_its_task_it_leaves_no_file_and_tries_to_delete_no_row(
    was_held, side_with, monkeypatch
):
    side = side_with(0.3)
    [runs] = claimed(1, side.manager)
    side.running = runs
    if not was_held:
        rescuing.rescue(connection, "default", register_manager(), new_token(), dead(proven=[side.manager]))

    with side.keeping():
        if was_held:
            row = row_that_holds(runs)
            execute(connection, "DELETE FROM django_partisan_manager WHERE id = %s", (row.pk,))
        wait_until(lambda: side.without_manager._lease._row is runs)
        wait_until(lambda: not side.without_manager._lease.may_have_row)
        wait_until(lambda: not list(all_paths()))
        monkeypatch.setitem(connection.settings_dict, "NAME", NOBODY)

    assert side.running is None, "without a database, and without an error"


def test_an_error_of_the_host_does_not_end_its_duty(side):
    [runs] = claimed(1, side.manager)
    side.running = runs
    failed: list[bool] = []

    def fail_once(connection: BaseDatabaseWrapper, **_: Any) -> None:
        if not failed:
            failed.append(True)
            raise OSError(errno.EMFILE, "Too many open files")

    connection_created.connect(fail_once)
    try:
        with side.keeping():
            row_that_holds(runs)
            side.completes(runs)
            failed.clear()
    finally:
        connection_created.disconnect(fail_once)

    assert failed == [True]
    assert statuses_of(runs[ID]) == ["finished"]


def test_a_run_that_was_taken_over_because_its_lease_had_expired_is_let_be(side_with):
    side = side_with(0.3)
    [runs] = claimed(1, side.manager)
    side.running = runs

    with side.keeping():
        row = row_that_holds(runs)
        execute(connection, "DELETE FROM django_partisan_manager WHERE id = %s", (row.pk,))
        wait_until(lambda: not side.without_manager._lease.may_have_row)

    assert own_rows() == 0


def test_a_task_that_begins_while_the_manager_dies_is_held_too(side):
    before, runs = claimed(2, side.manager)
    side.running = before

    with side.keeping():
        row_that_holds(before)
        side.completes(before)
        side.running = runs
        row_that_holds(runs)

    assert statuses_of(before[ID]) == ["finished"]


def test_without_a_folder_for_its_file_it_holds_its_task_by_the_lease_alone(side, temporary_folder):
    (temporary_folder / f"django-partisan-{os.getuid()}").touch()
    [runs] = claimed(1, side.manager)
    side.running = runs

    with side.keeping():
        row = row_that_holds(runs)
        assert read_liveness(row.lock_name) is None

    assert own_rows() == 0


def test_without_a_database_it_tries_until_the_database_is_back(side, monkeypatch):
    runs, done = claimed(2, side.manager)
    side.running = runs
    name = connection.settings_dict["NAME"]
    monkeypatch.setitem(connection.settings_dict, "NAME", NOBODY)
    side.completes(done)

    with side.keeping():
        wait_until(lambda: side.without_manager._unwritten[Kind.KEPT])
        connection.settings_dict["NAME"] = name
        row_that_holds(runs)
        wait_until(lambda: statuses_of(done[ID]) == ["finished"])
        connection.settings_dict["NAME"] = NOBODY
        side.completes(runs)
        threading.Timer(0.1, connection.settings_dict.__setitem__, ["NAME", name]).start()

    assert statuses_of(runs[ID]) == ["finished"]


def test_when_the_lease_has_expired_it_tries_no_more(side_with, monkeypatch):
    side = side_with(0.05)
    [done] = claimed(1, side.manager)
    side.completes(done)
    monkeypatch.setitem(connection.settings_dict, "NAME", NOBODY)

    with pytest.raises(OperationalError, match=NOBODY):
        side.without_manager.finish()


def test_a_call_that_hangs_keeps_the_process_no_longer_than_a_lease(side_with):
    side = side_with(0.05)
    [done] = claimed(1, side.manager)
    side.completes(done)

    with side.without_manager._duty:
        started = time.monotonic()
        side.without_manager.finish()

    assert time.monotonic() - started >= 0.05
    assert statuses_of(done[ID]) == ["finished"]


def test_what_others_lock_is_tried_again_and_holds_up_nothing(side):
    locked, free = claimed(2, side.manager)
    side.completes(locked)
    side.completes(free)
    finishing = threading.Thread(target=side.without_manager.finish)
    with open_transaction(lock_of(locked[ID])):
        finishing.start()
        wait_until(lambda: statuses_of(free[ID]) == ["finished"])
        assert statuses_of(locked[ID]) == ["in_process"]
    finishing.join(PATIENCE_SECONDS)

    assert statuses_of(locked[ID]) == ["finished"]


def test_its_row_stays_until_the_outcome_of_its_run_is_written(side):
    [runs] = claimed(1, side.manager)
    side.running = runs
    with side.keeping(), open_transaction() as other:
        row = row_that_holds(runs)
        execute(other, lock_of(runs[ID]))
        side.completes(runs)
        side.running = None
        finishing = threading.Thread(target=side.without_manager.finish)
        finishing.start()
        wait_until(lambda: side.without_manager._unwritten[Kind.KEPT])
        tries = side.report.takes
        wait_until(lambda: side.report.takes > tries + 2)
        rows = own_rows()
        other.rollback()
        finishing.join(PATIENCE_SECONDS)

    assert rows == 1, "without it other managers would run the task again"
    assert (statuses_of(runs[ID]), holder(runs)) == (["finished"], row.pk)
    assert own_rows() == 0


def test_a_database_that_falls_silent_keeps_no_process(side_with, monkeypatch):
    side = side_with(0.05)
    side.without_manager._answer_seconds = 0.2
    raised: list[Error] = []

    def call() -> None:
        def fall_silent(connection: BaseDatabaseWrapper) -> None:
            proxy.abandon()
            execute(connection, "SELECT")

        try:
            side.without_manager._call(fall_silent)
        except Error as error:
            raised.append(error)

    with TcpProxy(int(fetch_all(connection, "SHOW port")[0][0])) as proxy:
        for name, value in {"HOST": "127.0.0.1", "PORT": str(proxy.port)}.items():
            monkeypatch.setitem(connection.settings_dict, name, value)
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)

    assert raised, "it still waits"


def test_while_there_is_nothing_to_do_it_does_not_connect(side):
    connected: list[str] = []

    def note(connection: BaseDatabaseWrapper, **_: Any) -> None:
        connected.append(connection.settings_dict["OPTIONS"].get("application_name", ""))

    connection_created.connect(note)
    [runs] = claimed(1, side.manager)
    side.running = runs
    with side.keeping():
        row_that_holds(runs)
        takes = side.report.takes
        wait_until(lambda: side.report.takes > takes + 20)
    connection_created.disconnect(note)

    assert connected == ["django_partisan without manager default"] * 2, "to take the task, and to give it up"
