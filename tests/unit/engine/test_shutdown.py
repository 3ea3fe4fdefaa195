"""Stopping: serve, then drain, then by force; signals ask for the next stage."""

import signal
import threading
import time
from collections.abc import Callable

import pytest

from django_partisan.engine.manager.shutdown import SIGNALS, Shutdown, handling_signals

NEVER = float("inf")


def test_the_first_request_drains_and_the_second_forces():
    shutdown = Shutdown(None)
    assert not shutdown.is_draining
    assert shutdown.next_at() == NEVER

    shutdown.ask("SIGTERM")
    assert shutdown.is_draining
    assert not shutdown.is_forced
    shutdown.ask("SIGINT")
    assert shutdown.is_forced
    assert shutdown.signal == "SIGTERM"


def test_draining_takes_as_long_as_it_takes_without_a_timeout():
    shutdown = Shutdown(None)
    shutdown.ask()

    shutdown.turn(time.monotonic() + 1e9)

    assert not shutdown.is_forced
    assert shutdown.signal is None


def test_draining_ends_by_force_when_time_is_up():
    shutdown = Shutdown(5.0)
    shutdown.turn(time.monotonic() + 1e9)
    assert not shutdown.is_forced
    shutdown.ask()
    assert shutdown.draining_since is not None
    assert shutdown.next_at() == shutdown.draining_since + 5.0

    shutdown.turn(shutdown.next_at() - 0.1)
    assert not shutdown.is_forced
    shutdown.turn(shutdown.next_at())
    assert shutdown.is_forced
    assert shutdown.next_at() == NEVER


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_in_the_loop_and_handlers_are_as_before(number: signal.Signals):
    shutdown = Shutdown(None)
    delivered: list[Callable[[], None]] = []
    before = [signal.getsignal(each) for each in SIGNALS]

    with handling_signals(shutdown, delivered.append):
        signal.raise_signal(number)
        assert not shutdown.is_draining
        for call in delivered:
            call()

    assert shutdown.is_draining
    assert shutdown.signal == number.name
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_handlers_are_as_before_after_an_error():
    before = [signal.getsignal(each) for each in SIGNALS]

    with pytest.raises(RuntimeError), handling_signals(Shutdown(None), lambda call: None):
        raise RuntimeError("the loop broke")

    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_outside_the_main_thread_signals_are_left_alone():
    before = [signal.getsignal(each) for each in SIGNALS]
    during: list[list[object]] = []

    def serve() -> None:
        with handling_signals(Shutdown(None), lambda call: None):
            during.append([signal.getsignal(each) for each in SIGNALS])

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()

    assert during == [before]
