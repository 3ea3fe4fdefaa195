"""A line makes calls in its own thread, outlives what the server does to it, and ends when told."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error, OperationalError, ProgrammingError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager import database_thread as lines
from django_partisan.engine.manager.database_thread import Line
from django_partisan.engine.manager.loop_calls import Wakeup
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.listening import queues_notified
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Side:
    """A line, and the loop that gets its results."""

    def __init__(self) -> None:
        self.wakeup = Wakeup()
        self.line = Line("test", self.wakeup.deliver)
        self.heard: list[set[str] | None] = []

    def ask(self, call: Callable[[BaseDatabaseWrapper], Any]) -> Any:
        """Make one call and return its result, or the error."""
        results: list[Any] = []
        self.line.submit(call, results.append)
        assert self.line.busy
        self.turn_until(lambda: results)
        return results[0]

    def turn_until(self, condition: Callable[[], Any]) -> None:
        def turned() -> Any:
            self.wakeup.run_delivered()
            return condition()

        wait_until(turned)

    def backend(self) -> int:
        pid = self.ask(lambda connection: fetch_all(connection, "SELECT pg_backend_pid()")[0][0])
        assert isinstance(pid, int)
        return pid

    def listens(self) -> "Side":
        self.line.listen(self.heard.append)
        self.backend()
        return self


@pytest.fixture
def side() -> Iterator[Side]:
    made = Side()
    yield made
    if made.line._thread.is_alive():
        assert made.line.close(20)
    made.wakeup.close()


def end_session(pid: int) -> None:
    execute(connection, "SELECT pg_terminate_backend(%s)", (pid,))
    gone = "SELECT FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: not fetch_all(connection, gone, (pid,)))


def notify(queue: str) -> None:
    execute(connection, "SELECT pg_notify(%s, %s)", (CHANNEL, queue))


def test_calls_are_made_in_order_in_another_thread_and_their_results_come_to_the_loop(side):
    results: list[Any] = []
    for number in (1, 2):
        side.line.submit(
            lambda connection, number=number: (number, threading.current_thread().name), results.append
        )
    assert results == []
    side.turn_until(lambda: len(results) == 2)

    assert results == [(1, "partisan-test"), (2, "partisan-test")]
    assert not side.line.busy


def test_its_connection_carries_its_name_and_stays_the_same(side):
    name = side.ask(lambda connection: fetch_all(connection, "SHOW application_name")[0][0])

    assert name == "django_partisan test"
    assert side.backend() == side.backend()


def test_an_error_of_the_database_is_the_result_and_costs_no_connection_that_is_well(side):
    first = side.backend()

    assert isinstance(side.ask(lambda connection: execute(connection, "SELECT nothing")), ProgrammingError)
    assert side.backend() == first


def test_after_its_session_was_ended_one_call_fails_and_the_next_connects_anew(side):
    first = side.backend()
    end_session(first)

    assert isinstance(side.ask(lambda connection: execute(connection, "SELECT 1")), OperationalError)
    assert side.backend() != first


def test_a_fault_of_ours_is_the_result_and_does_not_end_the_thread(side):
    first = side.backend()

    assert isinstance(side.ask(lambda connection: 1 / 0), ZeroDivisionError)
    assert side.backend() != first


def test_a_database_out_of_reach_is_an_error_and_can_come_back(side):
    settings = side.line._connection.settings_dict
    port, settings["PORT"] = settings["PORT"], "1"

    assert isinstance(side.ask(lambda connection: execute(connection, "SELECT 1")), OperationalError)
    settings["PORT"] = port
    assert side.backend() > 0


def test_notifications_come_to_the_loop_without_a_call(side):
    side.listens()
    notify("mail")
    side.turn_until(lambda: side.heard)

    assert side.heard == [{"mail"}]


def test_it_listens_from_the_first_call_on_whichever_comes_first(side):
    side.backend()
    side.listens()
    notify("mail")
    side.turn_until(lambda: side.heard)

    assert side.heard == [{"mail"}]


def test_a_listening_line_whose_session_ends_says_that_some_may_be_missed_and_listens_again(side):
    end_session(side.listens().backend())
    side.turn_until(lambda: side.heard == [None])
    side.backend()
    side.turn_until(lambda: side.heard == [None, None])
    notify("mail")
    side.turn_until(lambda: len(side.heard) == 3)

    assert side.heard == [None, None, {"mail"}]


def test_a_listening_line_after_a_fault_of_ours_listens_again(side):
    side.listens().ask(lambda connection: 1 / 0)
    side.backend()
    notify("mail")
    side.turn_until(lambda: {"mail"} in side.heard)

    assert side.heard == [None, {"mail"}]


def test_woken_without_a_notification_it_tells_nobody(side, monkeypatch):
    taken: list[set[str]] = []

    def none(connection: BaseDatabaseWrapper) -> set[str]:
        taken.append(queues_notified(connection))
        return set()

    monkeypatch.setattr(lines, "queues_notified", none)
    side.listens()
    notify("mail")
    side.turn_until(lambda: taken)

    assert side.heard == []


def test_before_anybody_listens_nobody_is_told_of_what_was_missed(side):
    side.line._tell_missed()
    side.wakeup.run_delivered()

    assert side.heard == []


def test_closing_makes_the_calls_submitted_before_and_ends_the_thread_and_the_session(side):
    pid = side.backend()
    results: list[int] = []
    side.line.submit(lambda connection: 7, results.append)

    assert side.line.close(20)
    side.wakeup.run_delivered()
    assert results == [7]
    assert not side.line._thread.is_alive()
    gone = "SELECT FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: not fetch_all(connection, gone, (pid,)))


def test_a_line_that_hangs_does_not_keep_who_closes_it(side):
    go_on = threading.Event()
    side.line.submit(lambda connection: go_on.wait(20), lambda result: None)

    assert not side.line.close(0.01)
    go_on.set()
    side.line._thread.join(20)
    assert side.line.close(20)


def test_a_connection_that_cannot_even_be_closed_is_forgotten(side, monkeypatch):
    side.backend()
    kept = side.line._connection.connection

    def refuse() -> None:
        raise Error("no")

    monkeypatch.setattr(side.line._connection, "close", refuse)
    side.ask(lambda connection: 1 / 0)
    monkeypatch.undo()
    kept.close()

    assert side.backend() > 0
