"""A worker and its database connections between tasks, and what it does when its manager dies."""

import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, connections, transaction

from django_partisan import registry
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import RunTasks, Stop
from django_partisan.engine.worker.report import EVERY_SECONDS
from django_partisan.engine.worker.worker import REFRESH_SECONDS, Worker
from django_partisan.models import ManagerLease
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import ID
from django_partisan.sql.connection import fetch_all
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events.runs import TransactionLeftOpen, WrittenOutsideAtomic
from tests.app.models import Note as NoteRow
from tests.support.engine import spec_of
from tests.support.events import RecordedEvents, subscribed
from tests.support.rows import ARGUMENTS, claimed, statuses_of
from tests.support.waiting import let_pass

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers")]


class Note(BaseTaskProcessor):
    """Use the task's own connection; leave a transaction open if the argument says so."""

    sessions: list[int] = []

    def run(self) -> None:
        if self.args:
            transaction.set_autocommit(False)
        self.sessions += [pid for (pid,) in fetch_all(connection, "SELECT pg_backend_pid()")]


class WriteInThread(BaseTaskProcessor):
    """Write in a thread that outlives the task; leave a transaction open there if the argument says so."""

    ATOMIC = True
    pool: ThreadPoolExecutor

    def run(self) -> None:
        self.pool.submit(self.write).result()

    def write(self) -> None:
        if self.args:
            transaction.set_autocommit(False)
        NoteRow.objects.create(text="in a thread")


class Side:
    """A worker in this thread, and the manager's end of its pipe."""

    def __init__(self, presence_fd: int) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.bell, self.ring = os.pipe()
        self.manager = ManagerEnd(self.ours.fileno())
        self.worker = Worker(self.theirs.fileno(), self.bell, presence_fd, spec_of(0, 1), [])

    def runs(self, *arguments: str, processor: str = "Note") -> list[int]:
        """Claim tasks, dispatch them in one chunk, and run them; return their ids."""
        rows = [claimed(processor=processor, arguments=text)[0] for text in arguments]
        self.manager.send(RunTasks(rows, {}))
        for _ in range(len(rows) + 1):
            self.worker._turn()
        return [row[ID] for row in rows]

    def close(self) -> None:
        self.worker._close_connections()
        self.ours.close()
        self.theirs.close()
        os.close(self.ring)
        os.close(self.bell)


@pytest.fixture
def side(temporary_folder: Path) -> Iterator[Side]:
    connection.close()
    Note.sessions = []
    registry.register(Note)
    presence = PresenceFile(uuid.uuid4(), 1)
    presence.extend_lease(math.inf)
    made = Side(presence.fd)
    yield made
    made.close()
    presence.remove()


LEAVE_OPEN, PLAIN = '{"args": [1], "kwargs": {}}', ARGUMENTS


def test_a_transaction_that_a_run_left_open_is_emitted_with_the_run(side):
    with subscribed(RecordedEvents()) as recorded:
        [first, _] = side.runs(LEAVE_OPEN, PLAIN)

    assert [(event.run.id, event.database) for event in recorded.of(TransactionLeftOpen)] == [
        (first, "default")
    ]


@pytest.mark.parametrize("atomic", [True, False])
def test_an_atomic_task_that_wrote_in_another_thread_is_named_and_so_is_the_transaction_left_there(
    atomic, side
):
    WriteInThread.ATOMIC = atomic
    registry.register(WriteInThread)
    with ThreadPoolExecutor(1, "bookkeeping") as WriteInThread.pool, subscribed(RecordedEvents()) as recorded:
        plain, left_open = side.runs(PLAIN, LEAVE_OPEN, processor="WriteInThread")
        WriteInThread.pool.submit(connections.close_all).result()

    named = [(event.run.id, event.thread) for event in recorded.of(WrittenOutsideAtomic)]
    assert named == ([(plain, "bookkeeping_0"), (left_open, "bookkeeping_0")] if atomic else [])
    [left] = recorded.of(TransactionLeftOpen)
    assert (left.run.id, left.database, left.thread) == (left_open, "default", "bookkeeping_0")


def test_connections_of_threads_that_have_ended_are_closed_while_the_worker_is_idle(side):
    class Ask(BaseTaskProcessor):
        def run(self) -> None:
            thread = threading.Thread(target=fetch_all, args=(connection, "SELECT 1"))
            thread.start()
            thread.join()

    registry.register(Ask)
    side.runs(PLAIN, processor="Ask")
    side.manager.send(Stop())
    side.worker._turn()

    assert side.worker._threads.noted == []


@pytest.mark.parametrize(("age", "sessions"), [(0, 3), (None, 1)])
def test_a_connection_serves_one_run_or_many_as_conn_max_age_says(age, sessions, side):
    connection.settings_dict["CONN_MAX_AGE"] = age
    side.runs(PLAIN, PLAIN)
    side.runs(PLAIN)

    connection.settings_dict["CONN_MAX_AGE"] = 0
    assert len(set(Note.sessions)) == sessions


def test_when_its_manager_has_died_a_worker_settles_what_it_ran_and_releases_the_rest(side):
    class Last(BaseTaskProcessor):
        def run(self) -> None:
            side.ours.shutdown(socket.SHUT_RDWR)
            let_pass(2 * EVERY_SECONDS)  # so that a report is due afterwards

    registry.register(Last)
    done, waits = claimed(2, processor="Last")
    ManagerLease.objects.all().delete()
    side.manager.send(RunTasks([done, waits], {}))

    side.worker.run()

    assert statuses_of(done[ID], waits[ID]) == ["finished", "new"]


class Asked(Subscriber):
    """A subscriber that counts how often it is asked what it wants."""

    times = 0

    def surrounds_every_run(self) -> bool:
        self.times += 1
        return False


def test_subscribers_are_asked_what_they_want_while_there_is_no_task_but_not_every_time(side):
    with subscribed(Asked()) as asked:
        asked.times, before = 0, time.monotonic()
        side.runs(PLAIN)
        assert asked.times == 1
        assert side.worker._refresh_at >= before + REFRESH_SECONDS

        side.worker._refresh_at = math.inf
        side.runs(PLAIN)
        assert asked.times == 1
