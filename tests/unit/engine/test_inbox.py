"""What a worker was handed: taken from one end by itself, from the other by its manager."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from django_partisan.engine.pipe import Broken, ManagerEnd, WorkerEnd
from django_partisan.engine.worker.prefetch import Inbox
from tests.support.rows import task_row as task
from tests.support.waiting import wait_until


class Side:
    """Both ends of a worker's pipe and bell, and the inbox between them."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.bell, self.ring = os.pipe()
        self.manager = ManagerEnd(self.ours.fileno())
        self.given_back: list[list[int]] = []
        self.inbox = Inbox(WorkerEnd(self.theirs.fileno()), self.bell, self.given_back.append)

    def hand_over(self, *ids: int) -> None:
        self.manager.send(("tasks", [task(task_id) for task_id in ids], {1: 5.0}))

    def close(self) -> None:
        os.close(self.ring)
        wait_until(lambda: not any(thread.name == "partisan-recalls" for thread in threading.enumerate()))
        os.close(self.bell)
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def side() -> Iterator[Side]:
    made = Side()
    yield made
    made.close()


def test_tasks_come_out_in_the_order_in_which_they_were_handed_over(side):
    side.hand_over(1, 2)
    side.hand_over(3)
    assert side.inbox.next() is None
    assert side.inbox.wait(10)

    assert [side.inbox.next() for _ in range(4)] == [task(1), task(2), task(3), None]
    assert side.inbox.claim_times == {1: 5.0}


def test_waiting_ends_when_nothing_comes(side):
    assert not side.inbox.wait(0.01)


def test_nothing_is_waited_for_while_tasks_are_here(side):
    side.hand_over(1)
    side.inbox.wait(10)

    assert side.inbox.wait(10)
    assert side.inbox.next() == task(1)


def test_a_manager_that_is_gone_is_noticed(side):
    side.ours.close()

    with pytest.raises(Broken, match="end of file"):
        side.inbox.wait(10)


def test_to_stop_gives_back_what_has_not_begun(side):
    side.hand_over(1, 2)
    side.manager.send(("stop",))
    side.inbox.wait(10)

    assert side.inbox.stopping
    assert side.given_back == [[1, 2]]
    assert side.inbox.next() is None
    assert side.inbox.wait(10)


def test_a_message_of_a_later_version_is_passed_over(side):
    side.manager.send(("greetings",))
    side.hand_over(1)
    side.inbox.wait(10)

    assert side.inbox.next() == task(1)


def test_all_that_has_not_begun_is_taken_in_order(side):
    side.hand_over(1, 2, 3)
    side.inbox.wait(10)
    side.inbox.next()

    assert side.inbox.take_all() == [task(2), task(3)]
    assert side.inbox.take_all() == []


def test_a_recall_is_answered_while_a_task_runs_with_what_is_here_and_what_is_on_its_way(side):
    side.inbox.start()
    side.hand_over(1, 2)
    side.inbox.wait(10)
    side.inbox.next()
    side.hand_over(3)
    os.write(side.ring, b"!")

    assert wait_until(lambda: side.given_back) == [[2, 3]]


def test_a_recall_of_a_worker_that_waits_for_tasks_is_answered_with_none(side):
    side.inbox.start()
    with side.inbox._reading:
        os.write(side.ring, b"!")
        wait_until(lambda: side.given_back)

    assert side.given_back == [[]]
