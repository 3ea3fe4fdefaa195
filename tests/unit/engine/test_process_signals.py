"""Signals of a manager's process are recorded until they can be handled, and then delivered."""

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from django_partisan.engine import thread_stacks
from django_partisan.engine.manager import process_signals
from django_partisan.engine.manager.process_signals import STOPPING, ProcessSignals, StopRequested
from django_partisan.telemetry.events.managers import ThreadStack
from tests.support.events import RecordedEvents
from tests.support.waiting import wait_until

HANDLED = (*STOPPING, signal.SIGQUIT)


@contextmanager
def hangup(handler: signal.Handlers) -> Iterator[None]:
    """Set whether HUP is ignored, as the starter of a process may do."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def stacks_in(recorded: RecordedEvents) -> dict[str, str]:
    """Return the stack of each thread reported."""
    return {event.thread: event.stack for event in recorded.of(ThreadStack)}


def main_thread_waits() -> bool:
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    state = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat").read_text().rpartition(")")[2]
    return frame.f_code.co_filename == process_signals.__file__ and state.split()[0] == "S"


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.parametrize("error", [None, RuntimeError])
def test_a_signal_that_came_before_is_found_and_handlers_are_as_before(
    error: type[Exception] | None, number: signal.Signals
):
    signals = ProcessSignals()
    before = [signal.getsignal(each) for each in HANDLED]

    with suppress(RuntimeError), signals.handled():
        signals.check()
        signal.raise_signal(number)
        if error is not None:
            raise error

    with pytest.raises(StopRequested, match=f"^{number.name}$"):
        signals.check()
    assert [signal.getsignal(each) for each in HANDLED] == before


def test_whoever_can_stop_gets_the_signals_from_before_and_those_that_follow():
    signals = ProcessSignals()
    asked: list[str] = []

    with signals.handled():
        signal.raise_signal(signal.SIGINT)
        with signals.forwarded_to(asked.append):
            signal.raise_signal(signal.SIGHUP)
            signals.check()
        signal.raise_signal(signal.SIGTERM)

    assert asked == ["SIGINT", "SIGHUP"]
    with pytest.raises(StopRequested):
        signals.check()


@pytest.mark.parametrize("error", [ZeroDivisionError, None])
def test_a_call_that_ends_by_itself_has_its_result_or_its_error(error: type[Exception] | None):
    def call() -> str:
        if error is not None:
            raise error
        return "done"

    signals = ProcessSignals()
    if error is None:
        assert signals.result_of(call) == "done"
    else:
        with pytest.raises(error):
            signals.result_of(call)
    signals.check()


def test_a_signal_ends_the_wait_for_a_call_that_heeds_none():
    signals, gate = ProcessSignals(), threading.Event()

    def call() -> None:
        wait_until(main_thread_waits)
        # This signal does not interrupt the main thread's wait, as if it had arrived just before the wait.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        gate.wait()

    try:
        with signals.handled(), pytest.raises(StopRequested, match="SIGTERM"):
            signals.result_of(call)
    finally:
        gate.set()


def test_what_ignored_hangups_before_goes_on_ignoring_them():
    signals = ProcessSignals()

    with hangup(signal.SIG_IGN), signals.handled():
        signal.raise_signal(signal.SIGHUP)

    signals.check()


def test_outside_the_main_thread_signals_are_left_alone():
    before = [signal.getsignal(each) for each in HANDLED]
    during: list[object] = []

    def serve() -> None:
        with ProcessSignals().handled():
            during.extend(signal.getsignal(each) for each in HANDLED)

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()

    assert during == before


def test_a_stack_is_one_line_with_the_innermost_call_first():
    stack = traceback.StackSummary.from_list(
        [("/srv/shop/tasks.py", 7, "run", ""), ("/usr/lib/python3/selectors.py", 468, "select", "")]
    )

    assert thread_stacks.shown(stack) == "run shop/tasks.py:7 < select python3/selectors.py:468"


def test_quit_emits_what_each_thread_does_and_stops_nothing(recorded_events: RecordedEvents):
    signals, gate = ProcessSignals(), threading.Event()

    def wait_at_the_gate() -> None:
        gate.wait()

    thread = threading.Thread(target=wait_at_the_gate, name="waiting")
    thread.start()
    try:
        with signals.handled():
            signal.raise_signal(signal.SIGQUIT)
        wait_until(lambda: {"waiting", "MainThread"} <= stacks_in(recorded_events).keys())
    finally:
        gate.set()
        thread.join()

    found = stacks_in(recorded_events)
    assert " < wait_at_the_gate engine/test_process_signals.py:" in found["waiting"]
    assert "test_quit_emits_what_each_thread_does_and_stops_nothing engine/" in found["MainThread"]
    signals.check()
