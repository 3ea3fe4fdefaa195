"""Snapshots: the manager's state, taken by its own loop, for any thread that asks."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, cast

from django_partisan.engine.manager.snapshot import Snapshots


def test_a_snapshot_is_taken_in_the_loop_when_it_is_asked_for_and_one_without_answer_is_the_last():
    takes: list[threading.Thread] = []
    delivered: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def take() -> Any:
        takes.append(threading.current_thread())
        return len(takes)

    snapshots = cast(Callable[[], int], Snapshots(take, delivered.put))
    assert snapshots() == 1
    loop = threading.Thread(target=lambda: [delivered.get()() for _ in range(2)])
    loop.start()

    assert snapshots() == 3
    assert takes == [threading.current_thread(), loop, loop]
    loop.join()
