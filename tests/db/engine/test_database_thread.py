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
from django_partisan.engine.manager.database_call import Call, Done, StandingCall
from django_partisan.engine.manager.database_thread import GIVE_UP_SECONDS, DatabaseThread
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
    watch = ConnectionWatch([silent.thread, harness.thread], silent.thread, lambda: None)
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
    watch = ConnectionWatch([silent.thread, harness.thread], silent.thread, lambda: None)
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


def test_where_the_server_ended_the_idle_connection_of_the_heartbeats_the_others_are_replaced(harness):
    other = DatabaseThreadHarness()
    lost: list[int] = []
    watch = ConnectionWatch(
        [other.thread, harness.thread],
        other.thread,
        lambda: lost.append(other.thread.lost + harness.thread.lost),
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


def test_where_the_server_ended_another_idle_connection_only_this_one_is_replaced(harness):
    pulse = DatabaseThreadHarness()
    lost: list[int] = []
    watch = ConnectionWatch(
        [pulse.thread, harness.thread], pulse.thread, lambda: lost.append(harness.thread.lost)
    )
    before, listening = pulse.session(), harness.session()

    execute(connection, "SELECT pg_terminate_backend(%s)", (listening,))
    harness.turn_until(lambda: harness.notified == [None])
    watch.turn(time.monotonic())

    assert lost == [1]
    assert pulse.session() == before
    assert harness.session() != listening
    assert pulse.thread.close(20)
    pulse.calls.close()


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


class Standing:
    """A standing call for notifications of ``mail``, and what became of it."""

    def __init__(
        self, harness: DatabaseThreadHarness, call: Call | None = None, done: Done | None = None
    ) -> None:
        self.withdrawn = 0
        self.may_begin = True
        name = threading.current_thread
        call = call or (lambda connection: (name().name, fetch_all(connection, "SELECT 1")))
        harness.thread.stand_by(
            StandingCall(
                CHANNEL,
                "mail",
                call,
                done or harness.results.append,
                may_begin=lambda: self.may_begin,
                withdrawn=self._on_withdrawn,
            )
        )

    def _on_withdrawn(self) -> None:
        self.withdrawn += 1


def notify(queue: str) -> None:
    execute(connection, "SELECT pg_notify(%s, %s)", (CHANNEL, queue))


def test_a_standing_call_is_made_without_the_loop_when_it_is_notified(harness):
    harness.session()
    begun = threading.Event()

    def call(called: BaseDatabaseWrapper) -> int:
        begun.set()
        return 7

    standing = Standing(harness, call)
    assert harness.thread.is_standing_by
    assert not harness.thread.is_busy
    assert harness.thread.late_at() is None

    notify("mail")

    assert begun.wait(PATIENT_SECONDS)
    assert harness.thread.is_busy
    assert not harness.thread.is_standing_by
    harness.turn_until(lambda: not harness.thread.is_busy)
    assert harness.results == [7]
    assert harness.notified == []
    assert standing.withdrawn == 0


def test_a_standing_call_is_made_once_and_the_next_notification_comes_to_the_loop(harness):
    harness.session()
    Standing(harness)
    notify("mail")
    harness.turn_until(lambda: harness.results)

    assert harness.is_notified("mail")
    assert harness.results == [("partisan-test", [(1,)])]


def test_a_notification_for_another_queue_or_channel_leaves_a_call_standing(harness):
    harness.session()
    Standing(harness)

    assert harness.is_notified("letters")
    notify_control(connection, "mail", "pause")
    harness.turn_until(lambda: harness.controls)

    assert harness.thread.is_standing_by
    assert harness.results == []


def test_it_listens_from_its_first_call_on_and_no_more_after_the_connection_was_lost_in_a_call(harness):
    assert not harness.thread.is_listening
    harness.session()
    assert harness.thread.is_listening

    harness.ask(end_of_session)

    assert not harness.thread.is_listening
    assert not harness.thread.needs_connection


@pytest.mark.parametrize(
    "withdraw",
    [
        DatabaseThread.stand_down,
        DatabaseThread.renew,
        DatabaseThread.distrust,
        lambda thread: thread.submit(lambda connection: None, lambda result: None),
    ],
    ids=["asked", "renew", "distrust", "submit"],
)
def test_a_withdrawn_call_is_not_made(withdraw, harness):
    harness.session()
    standing = Standing(harness)

    withdraw(harness.thread)
    withdraw(harness.thread)

    assert standing.withdrawn == 1
    assert not harness.thread.is_standing_by
    harness.session()
    assert harness.is_notified("mail")
    assert harness.results == []


def test_a_call_that_may_not_begin_stays_and_the_notification_comes_to_the_loop(harness):
    harness.session()
    standing = Standing(harness)
    standing.may_begin = False

    assert harness.is_notified("mail")
    assert harness.thread.is_standing_by

    standing.may_begin = True
    notify("mail")
    harness.turn_until(lambda: harness.results)


def test_what_is_submitted_after_a_standing_call_has_begun_follows_it(harness, stuck):
    harness.session()
    standing = Standing(harness, stuck)
    assert harness.thread.stand_down()
    standing = Standing(harness, stuck)
    notify("mail")
    assert stuck.begun.wait(PATIENT_SECONDS)
    assert not harness.thread.stand_down()
    harness.thread.submit(lambda connection: "next", harness.results.append)

    stuck.go_on.set()
    harness.turn_until(lambda: not harness.thread.is_busy)

    assert harness.results == ["late", "next"]
    assert standing.withdrawn == 0


def test_a_notification_during_a_standing_call_comes_to_the_loop_after_its_result(harness, stuck):
    harness.session()
    notified_before: list[list[set[str] | None]] = []

    def call(called: BaseDatabaseWrapper) -> None:
        stuck(called)
        execute(called, "SELECT")  # its answer brings the notification

    Standing(harness, call, lambda _: notified_before.append([*harness.notified]))
    notify("mail")
    assert stuck.begun.wait(PATIENT_SECONDS)
    notify("mail")
    stuck.go_on.set()

    harness.turn_until(lambda: harness.notified)

    assert notified_before == [[]]


def test_a_standing_call_that_does_not_end_is_given_up_like_any_other(harness, stuck):
    harness.session()
    Standing(harness, stuck)
    notify("mail")
    assert stuck.begun.wait(PATIENT_SECONDS)
    late_at = wait_until(harness.thread.late_at)

    assert harness.thread.shut_down_if_late(late_at)
    assert not harness.thread.shut_down_if_late(late_at + GIVE_UP_SECONDS)

    [error] = harness.results
    assert isinstance(error, OperationalError)
    assert harness.thread.is_busy


def test_a_call_stands_no_more_when_its_thread_ends():
    harness = DatabaseThreadHarness()
    harness.session()
    standing = Standing(harness)

    assert harness.thread.close(20)

    assert standing.withdrawn == 1
    harness.calls.close()


def test_a_call_whose_connection_is_lost_stands_until_it_is_withdrawn_and_is_not_made(harness):
    pid = harness.session()
    standing = Standing(harness)

    execute(connection, "SELECT pg_terminate_backend(%s)", (pid,))
    harness.turn_until(lambda: harness.notified == [None])
    harness.session()

    assert standing.withdrawn == 1
    assert harness.is_notified("mail")
    assert harness.results == []
