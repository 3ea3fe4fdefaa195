"""A run is interrupted only inside ``run()``, whatever its code does."""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan import calling, registry
from django_partisan.calling import RunningCoroutine
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.engine.interrupting import CANCEL, TIMEOUT
from django_partisan.engine.judge import RAN, RunResult
from django_partisan.engine.protocol import Interrupt
from django_partisan.engine.worker import children
from django_partisan.engine.worker import interruption as interruption_module
from django_partisan.engine.worker.connection_state import is_active
from django_partisan.engine.worker.executor import Executor
from django_partisan.engine.worker.interruption import AGAIN, SIGNAL, Interruption
from django_partisan.exceptions import TaskCancelled, TaskTimeout
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry.events.runs import TaskCancelled as RunCancelled
from django_partisan.telemetry.events.runs import TaskFailed
from tests.support.engine import config_of
from tests.support.events import RecordedEvents
from tests.support.rows import task_row
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.usefixtures("own_registry", "no_subscribers")

AGES = 3600.0
TOO_LONG = Interrupt(1, TIMEOUT, "too long")
NOT_WANTED = Interrupt(1, CANCEL, "not wanted")


class FakeRaw:
    """A driver's connection on which a statement runs until it is cancelled or closed."""

    class Connection:
        transaction_status = 1

    def __init__(self) -> None:
        self.pgconn = self.Connection()
        self.was_cancelled = threading.Event()
        self.is_closed = False

    def cancel(self) -> None:
        self.pgconn.transaction_status = 0
        self.was_cancelled.set()

    def close(self) -> None:
        self.is_closed = True


class UnreadRaw(FakeRaw):
    """A connection whose driver never reads the server's answer to the cancel."""

    def cancel(self) -> None:
        self.was_cancelled.set()


class FakeConnection:
    def __init__(self, raw: Any) -> None:
        self.connection = raw
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def used() -> list[Any]:
    """Return the list of connections that runs use."""
    return []


@pytest.fixture
def interruption(used: list[Any]) -> Iterator[Interruption]:
    made = Interruption(lambda: used, PATIENCE_SECONDS)
    before = {number: signal.getsignal(number) for number in (SIGNAL, AGAIN)}
    made.listen()
    yield made
    made.run_number += 1  # so that nothing is interrupted any more
    wait_until(lambda: all(thread.name != "partisan-interrupt" for thread in threading.enumerate()))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def execute(interruption: Interruption, act: Callable[[], Any], **attributes: Any) -> RunResult:
    """Run a task that calls ``act``."""
    run = act if asyncio.iscoroutinefunction(act) else lambda: act()
    registry.register(type("Letter", (BaseTaskProcessor,), {"run": staticmethod(run), **attributes}))
    executor = Executor(config_of(), 0, 1, {}, interruption=interruption)
    executor.started = time.monotonic()
    interruption.run_number += 1
    return executor.execute(task_row(1))


def test_a_run_that_sleeps_is_over_its_limit_and_fails(interruption, recorded_events: RecordedEvents):
    def act() -> None:
        interruption.request(TOO_LONG)
        time.sleep(AGES)

    result = execute(interruption, act)

    assert (result.outcome, result.reason) == ("failed", "timeout")
    [failed] = recorded_events.of(TaskFailed)
    assert (failed.error.type, failed.error.message) == (
        "django_partisan.exceptions.TaskTimeout",
        "too long",
    )
    assert interruption.finish()
    assert not interruption.finish()


def test_a_time_out_is_retried_where_the_list_covers_it(interruption):
    def act() -> None:
        interruption.request(TOO_LONG)
        time.sleep(AGES)

    retry = ErrorsHandleConfig([TimeoutError], 3, 1)
    result = execute(interruption, act, RETRY_ON_ERROR_CONFIG=retry)

    assert (result.outcome, result.retries_left) == ("retried", 2)


@pytest.mark.parametrize("raised", [None, ValueError("odd"), TaskCancelled("my own idea")])
def test_a_cancelled_run_is_cancelled_whatever_it_does_with_the_exception(
    interruption, raised, recorded_events: RecordedEvents
):
    def act() -> None:
        try:
            interruption.request(NOT_WANTED)
            time.sleep(AGES)
        except BaseException:
            if raised is not None:
                raise raised from None

    result = execute(interruption, act, RETRY_ON_ERROR_CONFIG=ErrorsHandleConfig([BaseException], 3, 1))

    assert (result.outcome, result.reason) == ("failed", "cancelled")
    assert [event.run.id for event in recorded_events.of(RunCancelled)] == [1]
    assert recorded_events.of(TaskFailed) == []


def test_a_run_that_catches_the_exception_and_returns_has_completed(interruption):
    def act() -> None:
        with contextlib.suppress(TaskTimeout):
            interruption.request(TOO_LONG)
            time.sleep(AGES)

    assert execute(interruption, act) is RAN


def test_a_cancel_reaches_a_run_that_has_caught_its_time_out(interruption):
    def act() -> None:
        try:
            interruption.request(TOO_LONG)
            time.sleep(AGES)
        except TaskTimeout:
            interruption.request(NOT_WANTED)
            time.sleep(AGES)

    assert execute(interruption, act).reason == "cancelled"


def test_what_is_asked_for_an_earlier_run_is_ignored_and_for_the_next_is_kept(interruption):
    interruption.request(TOO_LONG)
    first = execute(interruption, lambda: time.sleep(AGES))
    interruption.finish()
    interruption.run_number = 5
    interruption.request(TOO_LONG)

    assert first.reason == "timeout"
    assert interruption.requested is None


def test_what_comes_after_the_end_of_run_interrupts_nothing(interruption):
    result = execute(interruption, lambda: None)
    interruption.request(TOO_LONG)
    wait_until(lambda: interruption.requested)
    signal.raise_signal(SIGNAL)
    next_result = execute(interruption, lambda: None)

    assert result is next_result is RAN
    assert not interruption.finish()


def test_a_log_handler_is_not_interrupted_for_it_would_swallow_the_exception(interruption):
    ended: list[str] = []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            interruption.request(TOO_LONG)
            until = time.monotonic() + 0.2
            while time.monotonic() < until:
                pass
            ended.append(record.getMessage())

    def act() -> None:
        logger = logging.Logger("shop")  # noqa: LOG001 - nobody else is to get it
        logger.addHandler(Slow())
        logger.warning("a line")
        time.sleep(AGES)

    assert execute(interruption, act).reason == "timeout"
    assert ended == ["a line"]


def test_a_finalizer_is_not_interrupted_for_python_would_swallow_the_exception(interruption):
    ended: list[str] = []

    class Leftover:
        def __del__(self) -> None:
            interruption.request(TOO_LONG)
            time.sleep(0.1)
            ended.append("finalized")

    def act() -> None:
        leftover = Leftover()
        del leftover
        time.sleep(AGES)

    assert execute(interruption, act).reason == "timeout"
    assert ended == ["finalized"]


@pytest.mark.parametrize("hook", ["before", "after_in_parent"])
def test_a_fork_is_not_interrupted_for_python_would_swallow_the_exception(
    interruption, hook: str, monkeypatch: pytest.MonkeyPatch
):
    hooks: dict[str, Callable[[], None]] = {}
    with monkeypatch.context() as patched:
        patched.setattr(os, "register_at_fork", lambda **those: hooks.update(those))
        children.watch()
    passed: list[str] = []

    def mask(how: int, mask: Any) -> set[int]:
        interruption.request(TOO_LONG)
        wait_until(lambda: interruption.requested)
        signal.raise_signal(SIGNAL)
        return set()

    def act() -> None:
        with contextlib.suppress(BaseException), monkeypatch.context() as patched:  # as Python suppresses it
            patched.setattr(signal, "pthread_sigmask", mask)
            hooks[hook]()
            passed.append(hook)
        if passed:
            time.sleep(AGES)

    assert execute(interruption, act).reason == "timeout"
    assert passed == [hook]


def test_the_query_of_a_run_that_heeds_no_signal_is_cancelled(interruption, used):
    raw = FakeRaw()
    idle = FakeRaw()
    idle.pgconn.transaction_status = 0
    used += [FakeConnection(raw), FakeConnection(idle)]

    def act() -> None:
        signal.pthread_sigmask(
            signal.SIG_BLOCK, [SIGNAL, AGAIN]
        )  # like a driver that retries interrupted calls
        try:
            interruption.request(TOO_LONG)
            assert raw.was_cancelled.wait(PATIENCE_SECONDS)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGNAL, AGAIN])

    assert execute(interruption, act).reason == "timeout"
    assert not idle.was_cancelled.is_set()


@pytest.mark.parametrize(("message", "reason"), [(TOO_LONG, "timeout"), (NOT_WANTED, "cancelled")])
def test_the_error_of_a_cancelled_query_stands_for_the_interruption(interruption, message, reason):
    def act() -> None:
        signal.signal(SIGNAL, signal.SIG_IGN)
        interruption.request(message)
        raise OperationalError("canceling statement due to user request")

    result = execute(interruption, act)

    assert result.reason == (reason if message is TOO_LONG else "cancelled")
    assert result.error is not None
    assert "canceling statement" in result.error.stack_trace


def test_another_error_of_an_interrupted_run_decides_its_outcome(interruption):
    def act() -> None:
        try:
            interruption.request(TOO_LONG)
            time.sleep(AGES)
        except TaskTimeout:
            raise KeyError("cleaning up failed") from None

    result = execute(interruption, act)

    assert (result.reason, result.error and result.error.type) == ("error", "KeyError")


def test_the_error_of_a_run_that_was_not_asked_for_is_its_own(interruption):
    def act() -> None:
        interruption.requested = Interrupt(7, CANCEL, "")
        raise KeyError

    assert execute(interruption, act).reason == "error"


def test_a_driver_that_is_left_in_the_middle_of_a_query_is_closed(interruption, used):
    raw, idle = UnreadRaw(), FakeRaw()
    idle.pgconn.transaction_status = 0
    connection, other = FakeConnection(raw), FakeConnection(idle)
    used += [connection, other]

    def wait() -> None:
        ask(TOO_LONG)  # type: ignore[name-defined]  # noqa: F821
        sleep(AGES)  # type: ignore[name-defined]  # noqa: F821

    surroundings = {
        **globals(),
        "__name__": "psycopg.waiting",
        "ask": interruption.request,
        "sleep": time.sleep,
    }
    driver = FunctionType(wait.__code__, surroundings)

    assert execute(interruption, driver).reason == "timeout"
    assert (raw.is_closed, connection.is_closed) == (True, True)
    assert (idle.is_closed, other.is_closed) == (False, False)
    assert raw.was_cancelled.is_set()


async def _sleep() -> None:
    await asyncio.sleep(AGES)


def test_a_coroutine_is_cancelled_in_its_loop(interruption, used):
    raw = FakeRaw()
    used.append(FakeConnection(raw))

    async def act() -> None:
        interruption.request(TOO_LONG)
        await _sleep()

    assert execute(interruption, act).reason == "timeout"
    assert raw.was_cancelled.wait(PATIENCE_SECONDS)
    assert calling.coroutines == {}


def test_a_coroutine_that_cancels_itself_is_not_interrupted(interruption):
    async def act() -> None:
        raise asyncio.CancelledError

    assert execute(interruption, act).reason == "error"


def test_a_coroutine_that_does_not_run_cannot_be_interrupted():
    coroutine = RunningCoroutine()
    before = coroutine.interrupt(TaskTimeout())

    class Quick:
        async def run(self) -> str:
            return "done"

    assert asyncio.run(coroutine.wait_for(Quick().run, (), {})) == "done"
    assert (before, coroutine.interrupt(TaskTimeout())) == (False, False)


def test_the_wait_for_a_coroutine_that_has_not_begun_goes_on(interruption):
    """A thread that waits for a coroutine gets no signal."""
    message = Interrupt(1, TIMEOUT, "too long")
    interruption.run_number = interruption.interruptible = 1
    interruption.requested = message
    calling.coroutines[threading.get_ident()] = RunningCoroutine()
    try:
        interruption._interrupt_now(message)
    finally:
        calling.coroutines.clear()
        interruption.interruptible = 0

    assert interruption._raised is None


def test_a_run_does_not_wait_for_ever_for_a_database_that_does_not_answer(interruption, used):
    release = threading.Event()

    class Silent(FakeRaw):
        def cancel(self) -> None:
            release.wait()

    used.append(FakeConnection(Silent()))
    interruption.run_number = 1
    interruption.requested = TOO_LONG
    interruption._cancel_queries()

    interruption.ensure_not_cancelled()
    with pytest.raises(TaskTimeout, match="too long"):
        interruption.ensure_not_cancelled(is_to_commit=True)
    [thread] = interruption._cancelling
    assert interruption.finish()
    assert interruption._cancelling == []
    release.set()
    thread.join()


def test_a_run_waits_until_nothing_is_sent_to_its_connections_any_more(interruption, used):
    class Silent(FakeRaw):
        release = threading.Event()

        def cancel(self) -> None:
            self.was_cancelled.set()
            assert self.release.wait(PATIENCE_SECONDS)

    raw = Silent()
    used.append(FakeConnection(raw))
    interruption_module_seconds = interruption_module.CANCEL_SECONDS
    interruption.run_number = 1
    began = time.monotonic()

    interruption._cancel_queries()

    assert time.monotonic() - began >= interruption_module_seconds
    [thread] = interruption._cancelling
    threading.Timer(0.1, raw.release.set).start()
    interruption.ensure_not_cancelled()
    assert not thread.is_alive()


class RaisesLate(Interruption):
    """Raise where Python 3.10 also calls signal handlers: before the first line of an ``except`` block."""

    late: BaseException | None = None

    @property
    def interruptible(self) -> int:
        return self._number

    @interruptible.setter
    def interruptible(self, number: int) -> None:
        error = self.late
        if error is not None and not number:
            self.late = None
            raise error
        self._number = number


@pytest.mark.parametrize(("error", "reason"), [(TaskTimeout(), "timeout"), (TaskCancelled(), "cancelled")])
def test_an_interruption_while_the_error_of_the_run_is_caught_stays_in_the_run(error, reason):
    def act() -> None:
        late.late = error
        raise KeyError

    late = RaisesLate()

    assert execute(late, act).reason == reason
    assert late.interruptible == 0


def test_a_connection_that_is_being_closed_runs_nothing():
    class Closing:
        def get_transaction_status(self) -> int:
            raise OSError("closed")

    assert not is_active(SimpleNamespace(connection=Closing()))  # type: ignore[arg-type] # a raw connection
