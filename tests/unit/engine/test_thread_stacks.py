"""The stacks of all threads can be emitted from any thread."""

import threading

import pytest

from django_partisan.engine import thread_stacks
from django_partisan.telemetry.events.managers import ThreadStack
from tests.support.events import RecordedEvents
from tests.support.waiting import PATIENCE_SECONDS, wait_until


@pytest.mark.usefixtures("no_subscribers")
def test_a_thread_that_asks_gets_the_stacks_of_all(recorded_events: RecordedEvents):
    go = threading.Event()
    waiting = threading.Thread(target=go.wait, args=(PATIENCE_SECONDS,), name="waits")
    waiting.start()

    asking = threading.Thread(target=thread_stacks.report_all)
    asking.start()
    asking.join()
    wait_until(lambda: {"MainThread", "waits"} <= {event.thread for event in recorded_events.of(ThreadStack)})
    go.set()
    waiting.join()

    [stack] = [event.stack for event in recorded_events.of(ThreadStack) if event.thread == "waits"]
    assert "wait python" in stack
