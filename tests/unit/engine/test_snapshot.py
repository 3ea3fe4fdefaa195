"""Snapshots: the manager's state, taken by its own loop, for any thread that asks."""

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from django_partisan.engine.manager.loop_calls import LoopCalls
from django_partisan.engine.manager.snapshot import Snapshots
from tests.support.waiting import wait_until


class Loop(LoopCalls):
    """A loop whose state is the number of snapshots taken, and the thread that took the last."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def take(self) -> Any:
        self.taken += 1
        return self.taken, threading.current_thread()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_a_snapshot_shows_the_state_when_it_was_asked_for_and_is_taken_in_the_loop(loop: Loop):
    snapshots = Snapshots(loop.take, loop.deliver)
    came: list[Any] = []
    asking = threading.Thread(target=lambda: came.append(snapshots()))

    asking.start()
    wait_until(lambda: loop.run_delivered() or came)
    asking.join()

    assert came == [(2, threading.current_thread())]


def test_a_loop_that_does_not_answer_is_shown_as_it_last_was(loop: Loop):
    snapshots = Snapshots(loop.take, loop.deliver)

    assert cast(Any, snapshots())[0] == 1
    loop.run_delivered()
    assert cast(Any, snapshots())[0] == 2
