"""Stopping: serve, then drain, then by force; signals ask for the next stage."""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.drain import SIGNALS, Drain, handling_signals


def test_the_first_request_drains_for_as_long_as_it_takes_and_the_second_forces():
    begins: list[bool] = []
    drain = Drain(None, begun=lambda: begins.append(drain.is_on))
    assert not drain.is_on
    drain.ask("SIGTERM")
    drain.turn(time.monotonic() + 1e9)
    assert not drain.is_forced

    drain.ask("SIGINT")

    assert drain.is_forced
    assert (begins, drain.signal) == ([True], "SIGTERM")


def test_draining_ends_by_force_when_time_is_up():
    drain = Drain(5.0, begun=lambda: None)
    assert drain.next_at() == NEVER
    before = time.monotonic()
    drain.ask()
    assert before + 5.0 <= drain.next_at() <= time.monotonic() + 5.0
    drain.turn(drain.next_at() - 0.1)
    assert not drain.is_forced

    drain.turn(drain.next_at())

    assert drain.is_forced
    assert drain.next_at() == NEVER


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("error", [None, RuntimeError])
def test_a_signal_asks_in_the_loop_and_handlers_are_as_before(
    error: type[Exception] | None, number: signal.Signals
):
    drain = Drain(None, begun=lambda: None)
    delivered: list[Callable[[], None]] = []
    before = [signal.getsignal(each) for each in SIGNALS]

    with suppress(RuntimeError), handling_signals(drain, delivered.append):
        signal.raise_signal(number)
        if error is not None:
            raise error
    assert not drain.is_on
    for call in delivered:
        call()

    assert drain.signal == number.name
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_outside_the_main_thread_signals_are_left_alone():
    before = [signal.getsignal(each) for each in SIGNALS]
    during: list[object] = []

    def serve() -> None:
        with handling_signals(Drain(None, begun=lambda: None), lambda call: None):
            during.extend(signal.getsignal(each) for each in SIGNALS)

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()

    assert during == before
