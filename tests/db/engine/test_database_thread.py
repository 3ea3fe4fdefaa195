"""A database thread makes calls on its own connection, whatever the server does, and ends on request."""

import select
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from django.db import Error, OperationalError, ProgrammingError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.connection_watch import ConnectionWatch
from django_partisan.engine.manager.database_thread import (
    GIVE_UP_SECONDS,
)
from django_partisan.engine.manager.thread_shutdown import end_all
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.control import Control, decoded, notify_control
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.session import GRACE_SECONDS
from tests.db.engine.database_thread_harness import PATIENT_SECONDS, DatabaseThreadHarness, has_ended
from tests.support.database import open_transaction
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def harness() -> Iterator[DatabaseThreadHarness]:
    made = DatabaseThreadHarness()
    yield made
    if made.thread._thread.is_alive():
        assert made.thread.close(20)
    made.calls.close()


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    port = fetch_all(connection, "SHOW port")[0][0]
    with TcpProxy(int(port)) as made:
        yield made


@pytest.fixture
def through(harness: DatabaseThreadHarness, proxy: TcpProxy) -> DatabaseThreadHarness:
    """Make the thread connect through the proxy."""
    harness.thread._session.connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(proxy.port)}
    return harness


class Stuck:
    """A call that closing the connection does not end, such as a name lookup."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, connection: BaseDatabaseWrapper) -> str:
        self.begun.set()
        self.go_on.wait(60)
        return "late"


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    made = Stuck()
    yield made
    made.go_on.set()


def fault(connection: BaseDatabaseWrapper) -> float:
    return 1 / 0


def wrong_statement(connection: BaseDatabaseWrapper) -> None:
    execute(connection, "SELECT nothing")


def end_of_session(connection: BaseDatabaseWrapper) -> None:
    execute(connection, "SELECT pg_terminate_backend(pg_backend_pid())")


def test_calls_are_made_in_order_in_another_thread_and_their_results_come_to_the_loop(harness):
    for number in (1, 2):
        harness.thread.submit(
            lambda connection, number=number: (number, threading.current_thread().name),
            harness.results.append,
        )
    assert harness.results == []
    harness.turn_until(lambda: not harness.thread.is_busy)

    assert harness.results == [(1, "partisan-test"), (2, "partisan-test")]


@pytest.mark.parametrize(
    ("call", "error", "keeps_connection"),
    [
        (wrong_statement, ProgrammingError, True),
        (end_of_session, OperationalError, False),
        (fault, ZeroDivisionError, False),
    ],
)
def test_an_error_is_the_result_and_the_next_call_has_a_connection_that_is_well(
    call, error, keeps_connection, harness
):
    session = harness.session()

    assert isinstance(harness.ask(call), error)

    assert (harness.session() == session) == keeps_connection


def test_whatever_call_waits_in_vain_for_a_locked_table_its_error_names_the_session(harness):
    with open_transaction("LOCK TABLE django_partisan_task") as holder:
        pid = fetch_all(holder, "SELECT pg_backend_pid()")[0][0]

        error = harness.ask(
            lambda connection: execute(
                connection, "SET LOCAL lock_timeout = 100; SELECT count(*) FROM django_partisan_task"
            )
        )

    assert f"(the table is locked by session {pid} " in str(error)
    assert harness.ask(lambda connection: fetch_all(connection, "SELECT 1")) == [(1,)]


def test_a_database_out_of_reach_is_an_error_and_can_come_back(harness):
    settings = harness.thread._session.connection.settings_dict
    port, settings["PORT"] = settings["PORT"], "1"
    assert isinstance(harness.ask(wrong_statement), OperationalError)

    settings["PORT"] = port

    assert harness.session() > 0


def test_notifications_come_to_the_loop_without_a_call(harness):
    harness.session()

    assert harness.is_notified("mail")
    assert harness.notified == [{"mail"}]


def test_each_channel_has_its_listener(harness):
    harness.session()

    notify_control(connection, "mail", "pause")
    harness.turn_until(lambda: harness.controls)

    assert harness.notified == []
    assert [decoded(payload) for payload in harness.controls[0]] == [Control("public", "mail", "pause")]


def test_a_channel_to_which_other_code_listens_is_left_alone(harness):
    harness.session()
    harness.ask(lambda connection: execute(connection, "LISTEN project"))

    execute(connection, "NOTIFY project, 'news'")

    assert harness.is_notified("mail")
    assert (harness.notified, harness.controls) == ([{"mail"}], [])


@pytest.mark.parametrize("fails", [False, True])
def test_a_notification_that_is_read_with_the_answer_to_a_call_comes_to_the_loop_too(fails, harness):
    harness.session()

    def call(called: BaseDatabaseWrapper) -> None:
        with closing(open_connection("another")) as other:
            execute(other, "SELECT pg_notify(%s, 'mail')", (CHANNEL,))
        assert select.select([called.connection.fileno()], [], [], PATIENT_SECONDS)[0]
        execute(called, "SELECT nothing" if fails else "SELECT")

    assert isinstance(harness.ask(call), ProgrammingError) == fails

    harness.turn_until(lambda: harness.notified == [{"mail"}])


def test_when_the_session_of_a_listener_ends_it_says_that_some_may_be_missed_and_listens_again(harness):
    harness.session()
    execute(connection, "SELECT pg_terminate_backend(%s)", (harness.session(),))
    harness.turn_until(lambda: harness.notified == [None])
    harness.session()

    assert harness.is_notified("mail")
    assert harness.notified == [None, None, {"mail"}]
    assert harness.controls == [None, None]


def test_a_listener_listens_again_after_a_fault_of_ours(harness):
    harness.session()
    harness.ask(fault)
    harness.session()

    assert harness.is_notified("mail")
    assert harness.notified == [None, {"mail"}]


def test_closing_makes_the_calls_submitted_before_and_ends_the_thread_and_the_session():
    harness = DatabaseThreadHarness()
    session = harness.session()
    harness.thread.submit(lambda connection: 7, harness.results.append)

    assert harness.thread.close(20)

    harness.calls.run_delivered()
    assert harness.results == [7]
    wait_until(lambda: has_ended(session))
    harness.calls.close()


def test_a_call_whose_answer_is_late_fails_and_the_next_is_made_over_another_connection(through, proxy):
    before = through.session()
    assert through.thread.late_at() is None
    assert not through.thread.shut_down_if_late(time.monotonic() + 1000)
    proxy.abandon()
    through.thread.submit(lambda connection: execute(connection, "SELECT"), through.results.append)
    late_at = wait_until(through.thread.late_at)

    assert not through.thread.shut_down_if_late(late_at - 1.0)
    assert through.thread.shut_down_if_late(late_at + PATIENT_SECONDS)
    through.turn_until(lambda: through.results)

    assert isinstance(through.results.pop(), OperationalError)
    assert through.session() != before
    wait_until(lambda: has_ended(before))


def test_a_call_that_does_not_end_is_given_up_and_what_comes_later_is_dropped(harness, stuck):
    harness.session()
    harness.thread.submit(stuck, harness.results.append)
    stuck.begun.wait(20)
    late_at = harness.thread.late_at()
    assert harness.thread.waited(late_at) == pytest.approx(PATIENT_SECONDS + GRACE_SECONDS)

    assert harness.thread.shut_down_if_late(late_at)
    assert not harness.thread.shut_down_if_late(late_at)
    assert harness.results == []
    assert harness.thread.late_at() == late_at + GIVE_UP_SECONDS
    assert not harness.thread.shut_down_if_late(late_at + GIVE_UP_SECONDS)

    [error] = harness.results
    assert str(error) == f"PostgreSQL has not answered for {PATIENT_SECONDS + GRACE_SECONDS + 1:.1f} s"
    assert harness.thread.late_at() is None
    assert not harness.thread.shut_down_if_late(late_at + 1000)
    assert harness.thread.is_busy
    stuck.go_on.set()
    harness.turn_until(lambda: not harness.thread.is_busy)
    assert harness.results == [error]
    assert harness.thread.waited(time.monotonic()) == 0.0
    harness.results.clear()
    assert harness.session() > 0


def test_where_one_answer_is_late_the_others_are_granted_a_moment_and_other_connections(harness, stuck):
    silent = DatabaseThreadHarness()
    watch = ConnectionWatch([silent.thread, harness.thread], lambda: None)
    before = harness.session()
    assert watch.next_at() == NEVER
    silent.thread.submit(stuck, silent.results.append)
    stuck.begun.wait(20)
    late_at = watch.next_at()
    assert late_at == silent.thread.late_at()
    watch.turn(late_at - 1.0)
    assert harness.session() == before
    waiting = Stuck()
    harness.thread.submit(waiting, harness.results.append)
    waiting.begun.wait(20)

    watch.turn(late_at)

    assert harness.thread.waited(harness.thread.late_at()) == pytest.approx(GRACE_SECONDS)
    stuck.go_on.set()
    waiting.go_on.set()
    harness.turn_until(lambda: harness.results.pop() == "late" if harness.results else False)
    after = harness.session()
    assert after != before
    assert harness.session() == after
    assert silent.thread.close(20)
    silent.calls.close()


def test_a_call_that_was_granted_but_a_moment_takes_no_patience_from_the_others(harness, stuck):
    """Otherwise, where calls take longer than a moment, threads would abort each other's calls forever."""
    silent, slow = DatabaseThreadHarness(), Stuck()
    watch = ConnectionWatch([silent.thread, harness.thread], lambda: None)
    silent.thread.submit(stuck, silent.results.append)
    stuck.begun.wait(20)
    harness.session()
    harness.thread.submit(slow, harness.results.append)
    slow.begun.wait(20)
    late_at = silent.thread.late_at()
    assert late_at is not None
    watch.turn(late_at)
    stuck.go_on.set()
    silent.turn_until(lambda: silent.results)
    again = Stuck()
    silent.thread.submit(again, silent.results.append)
    again.begun.wait(20)

    late_at = harness.thread.late_at()
    assert late_at is not None
    watch.turn(late_at)

    late_at = silent.thread.late_at()
    assert late_at is not None
    assert silent.thread.waited(late_at) == pytest.approx(PATIENT_SECONDS + GRACE_SECONDS)
    for one in (slow, again):
        one.go_on.set()
    harness.turn_until(lambda: not harness.thread.is_busy)
    assert silent.thread.close(20)
    silent.calls.close()


def test_where_the_server_ended_one_idle_connection_the_others_are_replaced(harness):
    other = DatabaseThreadHarness()
    lost: list[int] = []
    watch = ConnectionWatch(
        [other.thread, harness.thread], lambda: lost.append(other.thread.lost + harness.thread.lost)
    )
    listening, before = other.session(), harness.session()
    watch.turn(time.monotonic())
    assert not harness.thread.needs_connection
    assert harness.session() == before
    assert lost == []

    execute(connection, "SELECT pg_terminate_backend(%s)", (listening,))
    other.turn_until(lambda: other.notified == [None])
    watch.turn(time.monotonic())

    assert harness.thread.needs_connection
    after = harness.session()
    assert after != before
    watch.turn(time.monotonic())
    assert not harness.thread.needs_connection
    assert harness.session() == after
    watch.turn(time.monotonic())
    assert lost == [1, 2]
    assert other.thread.close(20)
    other.calls.close()


def test_threads_end_together_and_those_that_wait_for_an_answer_are_hung_up(through, proxy, stuck):
    other = DatabaseThreadHarness()
    through.session()
    proxy.abandon()
    through.thread.submit(lambda connection: execute(connection, "SELECT"), through.results.append)
    wait_until(through.thread.late_at)

    assert end_all([other.thread, through.thread], 0.2)

    through.calls.run_delivered()
    assert isinstance(through.results.pop(), OperationalError)
    other.calls.close()


def test_a_thread_that_hangs_does_not_hold_up_its_end_for_longer_than_asked(harness):
    stuck = Stuck()
    harness.thread.submit(stuck, harness.results.append)

    assert not harness.thread.close(0.01)

    stuck.go_on.set()
    harness.thread._thread.join(20)


def test_a_connection_that_cannot_even_be_closed_is_forgotten(harness, monkeypatch):
    harness.session()
    kept = harness.thread._session.connection.connection

    def refuse(self: object) -> None:
        raise Error("no")

    monkeypatch.setattr(BaseDatabaseWrapper, "close", refuse)
    harness.ask(fault)
    monkeypatch.undo()
    kept.close()

    assert harness.session() > 0
