"""Waking the loop: calls from any thread run in the loop's own, in order, none is lost."""

import select
import signal
import threading
from collections.abc import Iterator

import pytest

from django_partisan.engine.manager.loop_calls import Wakeup

PIPE_IS_FULL_AFTER = 66_000


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    made = Wakeup()
    yield made
    made.close()


def _is_rung(wakeup: Wakeup) -> bool:
    return bool(select.select([wakeup.fd], [], [], 0)[0])


def test_calls_run_in_the_loop_in_the_order_in_which_they_came(wakeup: Wakeup):
    ran: list[int] = []
    assert not _is_rung(wakeup)
    for number in range(3):
        wakeup.deliver(lambda number=number: ran.append(number))  # type: ignore[misc]

    assert _is_rung(wakeup)
    assert ran == []
    wakeup.run_delivered()
    assert ran == [0, 1, 2]
    assert not _is_rung(wakeup)


def test_calls_from_other_threads_run_in_the_loops(wakeup: Wakeup):
    ran_in: list[threading.Thread] = []
    threads = [
        threading.Thread(target=wakeup.deliver, args=(lambda: ran_in.append(threading.current_thread()),))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wakeup.run_delivered()

    assert ran_in == [threading.current_thread()] * 5


def test_a_call_that_delivers_another_waits_for_the_next_turn(wakeup: Wakeup):
    ran: list[str] = []

    def first() -> None:
        ran.append("first")
        wakeup.deliver(lambda: ran.append("second"))

    wakeup.deliver(first)
    wakeup.run_delivered()
    assert ran == ["first"]
    assert _is_rung(wakeup)
    wakeup.run_delivered()
    assert ran == ["first", "second"]


def test_no_call_is_lost_when_the_pipe_is_full(wakeup: Wakeup):
    ran: list[None] = []
    for _ in range(PIPE_IS_FULL_AFTER):
        wakeup.deliver(lambda: ran.append(None))

    wakeup.run_delivered()

    assert len(ran) == PIPE_IS_FULL_AFTER
    assert _is_rung(wakeup)


def test_nothing_to_run_is_no_error(wakeup: Wakeup):
    wakeup.run_delivered()

    assert not _is_rung(wakeup)


def test_a_signal_handler_may_deliver(wakeup: Wakeup):
    ran: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: wakeup.deliver(lambda: ran.append(number)))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    wakeup.run_delivered()

    assert ran == [signal.SIGUSR1]


def test_who_delivers_after_the_end_is_not_heard_and_not_hurt():
    ran: list[None] = []
    wakeup = Wakeup()
    wakeup.close()

    wakeup.deliver(lambda: ran.append(None))

    assert ran == []
