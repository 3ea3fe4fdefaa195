"""A database thread makes calls over its own connection, whatever the server does, and ends when told."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error, OperationalError, ProgrammingError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.loop_calls import LoopCalls
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.enqueueing import CHANNEL
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Play:
    """A database thread, and the loop that gets its results."""

    def __init__(self) -> None:
        self.calls = LoopCalls()
        self.thread = DatabaseThread("test", self.calls.deliver)
        self.notified: list[set[str] | None] = []

    def _note(self, queues: set[str] | None) -> None:
        if queues != set():  # the server sent something else
            self.notified.append(queues)

    def ask(self, call: Callable[[BaseDatabaseWrapper], Any]) -> Any:
        """Make one call and return its result, or the error."""
        results: list[Any] = []
        self.thread.submit(call, results.append)
        assert self.thread.is_busy
        self.turn_until(lambda: results)
        return results[0]

    def turn_until(self, condition: Callable[[], Any]) -> None:
        wait_until(lambda: self.calls.run_delivered() or condition())

    def backend(self) -> int:
        """Return the id of the session, which a new connection changes."""
        pid = self.ask(lambda connection: fetch_all(connection, "SELECT pg_backend_pid()")[0][0])
        assert isinstance(pid, int)
        return pid

    def listens(self) -> "Play":
        self.thread.listen(self._note)
        self.backend()
        return self


@pytest.fixture
def play() -> Iterator[Play]:
    made = Play()
    yield made
    assert made.thread.close(20)
    made.calls.close()


def has_ended(pid: int) -> bool:
    return not fetch_all(connection, "SELECT FROM pg_stat_activity WHERE pid = %s", (pid,))


def end_session(pid: int) -> None:
    execute(connection, "SELECT pg_terminate_backend(%s)", (pid,))
    wait_until(lambda: has_ended(pid))


def notify(queue: str) -> None:
    execute(connection, "SELECT pg_notify(%s, %s)", (CHANNEL, queue))


def select_1(connection: BaseDatabaseWrapper) -> int:
    return execute(connection, "SELECT 1")


def test_calls_are_made_in_order_in_another_thread_and_their_results_come_to_the_loop(play):
    results: list[Any] = []
    for number in (1, 2):
        play.thread.submit(
            lambda connection, number=number: (number, threading.current_thread().name), results.append
        )
    assert results == []
    play.turn_until(lambda: len(results) == 2)

    assert results == [(1, "partisan-test"), (2, "partisan-test")]
    assert not play.thread.is_busy


def test_its_connection_carries_its_name(play):
    name = play.ask(lambda connection: fetch_all(connection, "SHOW application_name")[0][0])

    assert name == "django_partisan test"


def test_an_error_of_the_database_is_the_result_and_costs_no_connection_that_is_well(play):
    first = play.backend()

    error = play.ask(lambda connection: execute(connection, "SELECT nothing"))

    assert isinstance(error, ProgrammingError)
    assert play.backend() == first


def test_after_its_session_was_ended_one_call_fails_and_the_next_connects_again(play):
    first = play.backend()
    end_session(first)

    assert isinstance(play.ask(select_1), OperationalError)

    assert play.backend() != first


def test_a_fault_of_ours_is_the_result_and_does_not_end_the_thread(play):
    first = play.backend()

    assert isinstance(play.ask(lambda connection: 1 / 0), ZeroDivisionError)

    assert play.backend() != first


def test_a_database_out_of_reach_is_an_error_and_can_come_back(play):
    settings = play.thread._connection.settings_dict
    port, settings["PORT"] = settings["PORT"], "1"
    assert isinstance(play.ask(select_1), OperationalError)

    settings["PORT"] = port

    assert play.backend() > 0


@pytest.mark.parametrize("is_connected", [False, True])
def test_notifications_come_to_the_loop_without_a_call(is_connected, play):
    if is_connected:
        play.backend()
    play.listens()

    notify("mail")
    play.turn_until(lambda: play.notified)

    assert play.notified == [{"mail"}]


def test_when_the_session_of_a_listener_ends_it_says_that_some_may_be_missed_and_listens_again(play):
    end_session(play.listens().backend())
    play.turn_until(lambda: play.notified == [None])
    play.backend()
    play.turn_until(lambda: play.notified == [None, None])
    notify("mail")
    play.turn_until(lambda: len(play.notified) == 3)

    assert play.notified == [None, None, {"mail"}]


def test_a_listener_listens_again_after_a_fault_of_ours(play):
    play.listens().ask(lambda connection: 1 / 0)
    play.backend()
    notify("mail")
    play.turn_until(lambda: {"mail"} in play.notified)

    assert play.notified == [None, {"mail"}]


def test_closing_makes_the_calls_submitted_before_and_ends_the_thread_and_the_session():
    play = Play()
    pid = play.backend()
    results: list[int] = []
    play.thread.submit(lambda connection: 7, results.append)

    assert play.thread.close(20)

    play.calls.run_delivered()
    assert results == [7]
    wait_until(lambda: has_ended(pid))
    play.calls.close()


def test_a_thread_that_hangs_does_not_hold_up_its_end_for_longer_than_asked(play):
    go_on = threading.Event()
    play.thread.submit(lambda connection: go_on.wait(20), lambda result: None)

    assert not play.thread.close(0.01)

    go_on.set()
    play.thread._thread.join(20)


def test_a_connection_that_cannot_even_be_closed_is_forgotten(play, monkeypatch):
    play.backend()
    kept = play.thread._connection.connection

    def refuse() -> None:
        raise Error("no")

    monkeypatch.setattr(play.thread._connection, "close", refuse)
    play.ask(lambda connection: 1 / 0)
    monkeypatch.undo()
    kept.close()

    assert play.backend() > 0
