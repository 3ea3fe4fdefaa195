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
        self.results: list[Any] = []
        self.notified: list[set[str] | None] = []
        self.thread = DatabaseThread("test", self.calls.deliver, self._note)

    def ask(self, call: Callable[[BaseDatabaseWrapper], Any]) -> Any:
        """Make one call and return its result, or the error."""
        self.thread.submit(call, self.results.append)
        assert self.thread.is_busy
        self.turn_until(lambda: not self.thread.is_busy)
        return self.results.pop()

    def turn_until(self, condition: Callable[[], Any]) -> None:
        def turned() -> Any:
            self.calls.run_delivered()
            return condition()

        wait_until(turned)

    def session(self) -> int:
        """Return the id of the session, which a new connection changes."""
        pid = self.ask(lambda connection: fetch_all(connection, "SELECT pg_backend_pid()")[0][0])
        assert isinstance(pid, int)
        return pid

    def _note(self, queues: set[str] | None) -> None:
        if queues != set():  # something else than a notification brings an empty set
            self.notified.append(queues)

    def is_notified(self, queue: str) -> bool:
        execute(connection, "SELECT pg_notify(%s, %s)", (CHANNEL, queue))
        self.turn_until(lambda: {queue} in self.notified)
        return True


@pytest.fixture
def play() -> Iterator[Play]:
    made = Play()
    yield made
    assert made.thread.close(20)
    made.calls.close()


def has_ended(pid: int) -> bool:
    return not fetch_all(connection, "SELECT FROM pg_stat_activity WHERE pid = %s", (pid,))


def fault(connection: BaseDatabaseWrapper) -> float:
    return 1 / 0


def wrong_statement(connection: BaseDatabaseWrapper) -> None:
    execute(connection, "SELECT nothing")


def end_of_session(connection: BaseDatabaseWrapper) -> None:
    execute(connection, "SELECT pg_terminate_backend(pg_backend_pid())")


def test_calls_are_made_in_order_in_another_thread_and_their_results_come_to_the_loop(play):
    for number in (1, 2):
        play.thread.submit(
            lambda connection, number=number: (number, threading.current_thread().name), play.results.append
        )
    assert play.results == []
    play.turn_until(lambda: not play.thread.is_busy)

    assert play.results == [(1, "partisan-test"), (2, "partisan-test")]


@pytest.mark.parametrize(
    ("call", "error", "keeps_connection"),
    [
        (wrong_statement, ProgrammingError, True),
        (end_of_session, OperationalError, False),
        (fault, ZeroDivisionError, False),
    ],
)
def test_an_error_is_the_result_and_the_next_call_has_a_connection_that_is_well(
    call, error, keeps_connection, play
):
    session = play.session()

    assert isinstance(play.ask(call), error)

    assert (play.session() == session) == keeps_connection


def test_a_database_out_of_reach_is_an_error_and_can_come_back(play):
    settings = play.thread._session.connection.settings_dict
    port, settings["PORT"] = settings["PORT"], "1"
    assert isinstance(play.ask(wrong_statement), OperationalError)

    settings["PORT"] = port

    assert play.session() > 0


def test_notifications_come_to_the_loop_without_a_call(play):
    play.session()

    assert play.is_notified("mail")
    assert play.notified == [{"mail"}]


def test_when_the_session_of_a_listener_ends_it_says_that_some_may_be_missed_and_listens_again(play):
    play.session()
    execute(connection, "SELECT pg_terminate_backend(%s)", (play.session(),))
    play.turn_until(lambda: play.notified == [None])
    play.session()

    assert play.is_notified("mail")
    assert play.notified == [None, None, {"mail"}]


def test_a_listener_listens_again_after_a_fault_of_ours(play):
    play.session()
    play.ask(fault)
    play.session()

    assert play.is_notified("mail")
    assert play.notified == [None, {"mail"}]


def test_closing_makes_the_calls_submitted_before_and_ends_the_thread_and_the_session():
    play = Play()
    session = play.session()
    play.thread.submit(lambda connection: 7, play.results.append)

    assert play.thread.close(20)

    play.calls.run_delivered()
    assert play.results == [7]
    wait_until(lambda: has_ended(session))
    play.calls.close()


def test_a_thread_that_hangs_does_not_hold_up_its_end_for_longer_than_asked(play):
    go_on = threading.Event()
    play.thread.submit(lambda connection: go_on.wait(20), lambda result: None)

    assert not play.thread.close(0.01)

    go_on.set()
    play.thread._thread.join(20)


def test_a_connection_that_cannot_even_be_closed_is_forgotten(play, monkeypatch):
    play.session()
    kept = play.thread._session.connection.connection

    def refuse(self: object) -> None:
        raise Error("no")

    monkeypatch.setattr(BaseDatabaseWrapper, "close", refuse)
    play.ask(fault)
    monkeypatch.undo()
    kept.close()

    assert play.session() > 0
