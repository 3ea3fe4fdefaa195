"""Connections that tasks open in their own threads are also checked between tasks."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import override_settings

from django_partisan.engine.worker.thread_connections import ThreadConnections
from django_partisan.sql.connection import execute, fetch_all, has_ended, open_connection
from tests.app.models import Note
from tests.support.database import first_value
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class OtherThread:
    """A thread that a test controls, like a thread of an executor."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def does(self, call: Callable[[], Any]) -> Any:
        """Run a call in the thread; return its result."""
        return self.begins(call).result(20)

    def begins(self, call: Callable[[], Any]) -> Future[Any]:
        """Start a call in the thread; return its future."""
        done: Future[Any] = Future()
        self._work.put((call, done))
        return done

    def end(self) -> None:
        self._work.put(None)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while (asked := self._work.get()) is not None:
            call, done = asked
            try:
                done.set_result(call())
            except Exception as error:
                done.set_exception(error)


@pytest.fixture
def watched() -> Iterator[ThreadConnections]:
    made = ThreadConnections()
    yield made
    made.close()


@pytest.fixture
def thread(watched: ThreadConnections) -> Iterator[OtherThread]:
    made = OtherThread("bookkeeping")
    yield made
    made.does(connections.close_all)
    made.end()


def backend() -> int:
    pid: int = fetch_all(connection, "SELECT pg_backend_pid()")[0][0]
    return pid


def sessions() -> int:
    number: int = first_value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    return number


def write() -> None:
    Note.objects.create(text="elsewhere")


def open_transaction() -> None:
    transaction.atomic().__enter__()
    write()


def roll_back() -> None:
    transaction.set_rollback(True)
    connection.in_atomic_block = False
    connection.close()


def test_the_runners_own_connections_and_our_own_are_not_noted(watched: ThreadConnections):
    connection.close()
    backend()
    ours = open_connection("test")
    thread = OtherThread("ours")
    thread.does(lambda: execute(ours, "SELECT 1"))
    thread.does(ours.close)
    thread.end()

    assert not watched.noted


def test_a_connection_of_a_thread_that_has_ended_is_closed(watched: ThreadConnections, thread: OtherThread):
    lives = thread.does(backend)
    ended = OtherThread("ended")
    pid = ended.does(backend)
    ended.end()

    watched.close_ended()

    wait_until(lambda: not fetch_all(connection, "SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)))
    assert len(watched.noted) == 1
    assert thread.does(backend) == lives


def test_connections_of_asynchronous_code_in_threads_are_closed_when_its_loop_has_ended(
    watched: ThreadConnections,
):
    before = sessions()

    async def ask_in_threads() -> None:
        await asyncio.gather(*(asyncio.to_thread(backend) for _ in range(3)))

    asyncio.run(ask_in_threads())
    assert sessions() > before

    watched.close_ended()
    wait_until(lambda: sessions() <= before)
    assert not watched.noted


def test_a_transaction_that_is_open_in_a_living_thread_is_reported_once_and_left_alone(
    watched: ThreadConnections, thread: OtherThread
):
    thread.does(backend)
    assert watched.after_run() == []

    thread.does(open_transaction)
    assert watched.after_run() == [("default", "bookkeeping")]
    assert watched.after_run() == []

    assert thread.does(Note.objects.count) == 1
    thread.does(roll_back)
    assert watched.after_run() == []
    thread.does(open_transaction)
    assert watched.after_run() == [("default", "bookkeeping")]
    thread.does(roll_back)


def test_a_query_that_a_living_thread_waits_for_is_no_open_transaction(
    watched: ThreadConnections, thread: OtherThread
):
    pid = thread.does(backend)
    execute(connection, "SELECT pg_advisory_lock(7)")
    waiting = thread.begins(lambda: execute(connection, "SELECT pg_advisory_lock(7)"))
    blocked = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'advisory'"
    wait_until(lambda: fetch_all(connection, blocked, (pid,)))

    left_open = watched.after_run()

    execute(connection, "SELECT pg_advisory_unlock(7)")
    waiting.result(20)
    assert left_open == []


def test_a_connection_of_a_living_thread_that_was_ended_is_renewed_for_the_next_task(
    watched: ThreadConnections, thread: OtherThread
):
    first = thread.does(backend)
    wrapper = watched.noted[0].connection
    execute(connection, "SELECT pg_terminate_backend(%s)", (first,))
    wait_until(lambda: has_ended(wrapper.connection))

    assert watched.after_run() == []

    assert thread.does(backend) != first
    assert thread.does(lambda: len(watched.noted)) == 1


def test_a_connection_on_which_a_task_saw_the_error_is_renewed_as_well(
    watched: ThreadConnections, thread: OtherThread
):
    first = thread.does(backend)
    execute(connection, "SELECT pg_terminate_backend(%s)", (first,))
    with pytest.raises(Exception, match=r"terminat|closed"):
        thread.does(backend)

    watched.after_run()

    assert thread.does(backend) != first


def test_threads_that_wrote_to_the_tasks_database_since_the_last_run_are_known(
    watched: ThreadConnections, thread: OtherThread
):
    thread.does(lambda: Note.objects.count())
    assert watched.take_writers() == set()

    thread.does(write)

    assert watched.take_writers() == {"bookkeeping"}
    assert watched.take_writers() == set()


def test_queries_of_other_threads_are_forgotten_too(watched: ThreadConnections, thread: OtherThread):
    with override_settings(DEBUG=True):
        thread.does(backend)
        watched.after_run()

    assert thread.does(lambda: connection.queries) == []


def test_in_the_end_nothing_is_watched_any_more(thread: OtherThread):
    watched = ThreadConnections()
    thread.does(connections.close_all)
    thread.does(write)
    watched.close()

    thread.does(write)

    assert watched.take_writers() == {"bookkeeping"}
    thread.does(write)
    assert watched.take_writers() == set()


def test_a_thread_whose_first_query_runs_in_a_wrapper_of_its_own_stays_watched(
    watched: ThreadConnections, thread: OtherThread
):
    def passes(execute: Callable[..., Any], *arguments: Any) -> Any:
        return execute(*arguments)

    def connect_in_a_wrapper() -> None:
        connections.close_all()
        with connection.execute_wrapper(passes):
            backend()

    thread.does(connect_in_a_wrapper)

    assert passes not in thread.does(lambda: connection.execute_wrappers)
    thread.does(write)
    assert watched.take_writers() == {"bookkeeping"}


def test_a_wrapper_that_a_task_removed_hinders_no_end(thread: OtherThread):
    watched = ThreadConnections()
    thread.does(connections.close_all)
    thread.does(write)
    thread.does(lambda: connection.execute_wrappers.clear())

    watched.close()

    assert thread.does(lambda: connection.execute_wrappers) == []


def test_a_pool_of_threads_that_goes_on_keeps_its_connections(watched: ThreadConnections):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(backend).result()
        watched.after_run()
        watched.close_ended()

        assert pool.submit(backend).result() == first
    watched.close_ended()
    assert not watched.noted


def test_a_connection_that_a_thread_makes_beside_those_of_the_settings_is_left_alone(
    watched: ThreadConnections, thread: OtherThread
):
    def ask() -> int:
        with connection._nodb_cursor() as cursor:  # as code that creates databases does
            cursor.execute("SELECT 7")
            return int(cursor.fetchone()[0])

    assert thread.does(ask) == 7
    assert watched.noted == []
