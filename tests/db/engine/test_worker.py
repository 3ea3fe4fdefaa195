"""A worker and the database: connections between its tasks, and settling when its manager has died."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import OperationalError, connection, transaction

from django_partisan import registry
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.engine.presence import PAGE_BYTES
from django_partisan.engine.protocol import RunTasks
from django_partisan.engine.worker.manager_lost import settle_without_manager
from django_partisan.engine.worker.report import EVERY_SECONDS
from django_partisan.engine.worker.worker import Worker
from django_partisan.models import ManagerLease
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.settling import RowChange
from django_partisan.telemetry.events import TransactionLeftOpen
from tests.support.engine import config_of, spec_of
from tests.support.events import RecordedEvents, subscribed
from tests.support.rows import ARGUMENTS, claimed, statuses_of
from tests.support.waiting import let_pass

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers")]


class Note(BaseTaskProcessor):
    """Use a connection of the task's own; leave a transaction open if asked."""

    sessions: list[int] = []

    def run(self) -> None:
        if self.args:
            transaction.set_autocommit(False)
        self.sessions += [pid for (pid,) in fetch_all(connection, "SELECT pg_backend_pid()")]


class Side:
    """A worker in this thread, and its manager's end."""

    def __init__(self, presence_fd: int) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.bell, self.ring = os.pipe()
        self.manager = ManagerEnd(self.ours.fileno())
        self.worker = Worker(self.theirs.fileno(), self.bell, presence_fd, spec_of(0, 1), [])

    def runs(self, *arguments: str) -> list[int]:
        """Have tasks claimed, dispatched in one chunk and run; return their ids."""
        rows = [claimed(processor="Note", arguments=text)[0] for text in arguments]
        self.manager.send(RunTasks(rows, {}))
        for _ in range(len(rows) + 1):
            self.worker._turn()
        return [row[ID] for row in rows]

    def close(self) -> None:
        self.worker._connections.close()
        self.ours.close()
        self.theirs.close()
        os.close(self.ring)
        os.close(self.bell)


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    connection.close()
    Note.sessions = []
    registry.register(Note)
    with (tmp_path / "presence").open("w+b") as file:
        file.write(bytes(PAGE_BYTES))
        file.flush()
        made = Side(file.fileno())
        yield made
        made.close()


LEAVE_OPEN, PLAIN = '{"args": [1], "kwargs": {}}', ARGUMENTS


def test_a_transaction_that_a_run_left_open_is_emitted_with_the_run(side):
    with subscribed(RecordedEvents()) as recorded:
        [first, _] = side.runs(LEAVE_OPEN, PLAIN)

    assert [(event.run.id, event.database) for event in recorded.of(TransactionLeftOpen)] == [
        (first, "default")
    ]


def test_a_connection_is_kept_within_a_chunk_and_looked_after_before_the_next(side):
    connection.settings_dict["CONN_MAX_AGE"] = 0
    side.runs(PLAIN, PLAIN)
    side.runs(PLAIN)

    first, second, third = Note.sessions
    assert first == second != third


def test_when_its_manager_has_died_a_worker_settles_what_it_ran_and_releases_the_rest(side):
    class Last(BaseTaskProcessor):
        def run(self) -> None:
            side.ours.shutdown(socket.SHUT_RDWR)
            let_pass(2 * EVERY_SECONDS)  # so that a report is due after it

    registry.register(Last)
    done, waits = claimed(2, processor="Last")
    ManagerLease.objects.all().delete()
    side.manager.send(RunTasks([done, waits], {}))

    side.worker.run()

    assert statuses_of(done[ID], waits[ID]) == ["finished", "new"]


def test_all_outcomes_are_settled_under_the_claims_of_the_dead_manager():
    done, failed = claimed(2)
    change = RowChange(failed[ID], failed[TOKEN], "error", reason="error")

    settle_without_manager(config_of(), [(done[ID], done[TOKEN])], [change], [])

    assert statuses_of(done[ID], failed[ID]) == ["finished", "error"]


def test_without_a_database_it_tries_until_the_database_is_back(monkeypatch):
    [row] = claimed()
    pauses: list[float] = []
    name = connection.settings_dict["NAME"]
    monkeypatch.setitem(connection.settings_dict, "NAME", "no_such_database")

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            connection.settings_dict["NAME"] = name

    settle_without_manager(config_of(), [(row[ID], row[TOKEN])], [], [], sleep=sleep)

    assert len(pauses) == 2
    assert statuses_of(row[ID]) == ["finished"]


def test_when_the_lease_has_expired_it_tries_no_more(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "NAME", "no_such_database")

    with pytest.raises(OperationalError, match="no_such_database"):
        settle_without_manager(replace(config_of(), lease_seconds=0.0), [(1, 1)], [], [])


def test_what_others_lock_is_tried_again_and_holds_up_nothing():
    locked, free = claimed(2)
    pauses: list[float] = []
    other = open_connection("other")
    other.set_autocommit(False)
    execute(other, f"SELECT FROM django_partisan_task WHERE id = {locked[ID]} FOR UPDATE")

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        assert statuses_of(locked[ID], free[ID]) == ["in_process", "new"]
        other.rollback()

    settle_without_manager(config_of(), [(locked[ID], locked[TOKEN])], [], [free], sleep=sleep)
    other.close()

    assert len(pauses) == 1
    assert statuses_of(locked[ID], free[ID]) == ["finished", "new"]
