"""Calls from any thread run in the loop's thread, in order, and none is lost."""

import select
import signal
import threading
from collections.abc import Iterator

import pytest

from django_partisan.engine.manager.loop_calls import LoopCalls
from tests.support.waiting import wait_until

PIPE_IS_FULL_AFTER = 66_000


@pytest.fixture
def calls() -> Iterator[LoopCalls]:
    made = LoopCalls()
    yield made
    made.close()
    made.deliver(lambda: pytest.fail("nobody runs it"))  # does nothing


def wakes_the_loop(calls: LoopCalls) -> bool:
    return bool(select.select([calls.fd], [], [], 0)[0])


def run_delivered(calls: LoopCalls) -> bool:
    calls.run_delivered()
    return True


def test_calls_from_another_thread_run_in_the_loops_in_the_order_in_which_they_came(calls: LoopCalls):
    ran: list[tuple[int, threading.Thread]] = []
    assert not wakes_the_loop(calls)

    def deliver() -> None:
        for number in range(3):
            calls.deliver(lambda number=number: ran.append((number, threading.current_thread())))  # type: ignore[misc]

    thread = threading.Thread(target=deliver)
    thread.start()
    thread.join()
    assert wakes_the_loop(calls)
    assert ran == []
    calls.run_delivered()

    assert ran == [(number, threading.current_thread()) for number in range(3)]
    assert not wakes_the_loop(calls)


def test_a_call_that_delivers_another_waits_for_the_next_turn(calls: LoopCalls):
    ran: list[str] = []
    calls.deliver(lambda: calls.deliver(lambda: ran.append("second")))

    calls.run_delivered()
    assert ran == []
    assert wakes_the_loop(calls)
    calls.run_delivered()

    assert ran == ["second"]


def test_no_call_is_lost_when_the_pipe_is_full(calls: LoopCalls):
    ran: list[None] = []
    for _ in range(PIPE_IS_FULL_AFTER):
        calls.deliver(lambda: ran.append(None))

    calls.run_delivered()

    assert len(ran) == PIPE_IS_FULL_AFTER
    assert wakes_the_loop(calls)


def test_a_signal_handler_may_deliver(calls: LoopCalls):
    ran: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: calls.deliver(lambda: ran.append(number)))
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)

    calls.run_delivered()

    assert ran == [signal.SIGUSR1]


def test_a_thread_can_wait_until_its_call_has_run_and_does_not_wait_for_a_loop_that_hangs(calls: LoopCalls):
    ran: list[threading.Thread] = []
    caller = threading.Thread(target=lambda: calls.call(lambda: ran.append(caller), 20))
    caller.start()
    wait_until(lambda: wakes_the_loop(calls))
    assert caller.is_alive()

    wait_until(lambda: run_delivered(calls) and not caller.is_alive())

    assert ran == [caller]
    calls.call(lambda: ran.append(caller), timeout=0.01)
    assert ran == [caller]
