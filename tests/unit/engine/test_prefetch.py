"""Prefetched tasks: the worker takes them from one end, and its manager gets them back from the other."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from django_partisan.engine.pipe import ManagerEnd, PipeError, WorkerEnd
from django_partisan.engine.protocol import Interrupt, LogStacks, Returned, RunTasks, Stop
from django_partisan.engine.worker.prefetch import PrefetchedTasks
from django_partisan.sql.claiming import ID, TaskRow
from tests.support.rows import task_row
from tests.support.waiting import wait_until


class Side:
    """Both ends of a worker's pipe and bell, and the worker's prefetched tasks."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.bell, self.ring = os.pipe()
        self.manager = ManagerEnd(self.ours.fileno())
        self.returned: list[list[int]] = []
        self.manager_lives = True
        self.losses: list[list[TaskRow]] = []
        self.interrupts: list[Interrupt] = []
        self.stacks = threading.Event()
        end = WorkerEnd(self.theirs.fileno())
        self.tasks = PrefetchedTasks(
            end, self.bell, self._send_back, self._lose, self.interrupts.append, self.stacks.set
        )

    def _send_back(self, ids: list[int]) -> None:
        if not self.manager_lives:
            raise PipeError("broken pipe")
        self.returned.append(ids)

    def _lose(self) -> None:
        self.losses.append(self.tasks.take_unstarted())

    def dispatch(self, *ids: int, epoch: int = 0) -> None:
        self.manager.send(RunTasks([task_row(task_id) for task_id in ids], {1: 5.0}, epoch))

    def end_bell(self) -> None:
        if self.ring >= 0:
            os.close(self.ring)
            self.ring = -1

    def close(self) -> None:
        self.end_bell()
        wait_until(lambda: not any(thread.name == "partisan-control" for thread in threading.enumerate()))
        os.close(self.bell)
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def side() -> Iterator[Side]:
    made = Side()
    yield made
    made.close()


def test_tasks_come_out_in_the_order_in_which_they_were_dispatched(side):
    side.dispatch(1, 2)
    side.dispatch(3)
    assert side.tasks.next() is None
    assert side.tasks.wait(10)

    assert [side.tasks.next() for _ in range(4)] == [task_row(1), task_row(2), task_row(3), None]
    assert side.tasks.claim_times == {1: 5.0}


def test_waiting_ends_when_nothing_comes(side):
    assert not side.tasks.wait(0.01)


def test_nothing_is_waited_for_while_tasks_are_here(side):
    side.dispatch(1)
    side.tasks.wait(10)

    assert side.tasks.wait(10)
    assert side.tasks.next() == task_row(1)


def test_a_dead_manager_and_one_that_sends_what_workers_send_are_errors(side):
    side.manager.send(Returned([1]))
    with pytest.raises(PipeError, match="a manager sent Returned, which only workers send"):
        side.tasks.wait(10)

    side.ours.close()
    with pytest.raises(PipeError, match="end of file"):
        side.tasks.wait(10)


def test_a_stop_returns_what_has_not_started(side):
    side.dispatch(1, 2)
    side.manager.send(Stop())
    side.tasks.wait(10)

    assert side.tasks.stopping
    assert side.returned == [[1, 2]]
    assert side.tasks.next() is None
    assert side.tasks.wait(10)


def test_what_cannot_be_returned_to_a_dead_manager_is_left_and_does_not_start(side):
    side.dispatch(1, 2)
    side.manager.send(Stop())
    side.manager_lives = False
    side.tasks.wait(10)

    assert side.tasks.next() is None
    side.dispatch(3)
    side.ours.close()
    assert side.tasks.take_unstarted() == [task_row(1), task_row(2), task_row(3)]
    assert side.tasks.take_unstarted() == []


def test_the_end_of_the_bell_is_noticed_while_a_task_runs(side):
    side.tasks.start()
    side.dispatch(1, 2)
    side.tasks.wait(10)
    side.tasks.next()
    side.dispatch(3)
    side.end_bell()

    assert wait_until(lambda: side.losses) == [[task_row(2), task_row(3)]]


def test_a_recall_is_answered_while_a_task_runs_with_what_is_here_and_what_is_on_its_way(side):
    side.tasks.start()
    side.dispatch(1, 2)
    side.tasks.wait(10)
    side.tasks.next()
    side.dispatch(3)
    os.write(side.ring, b"!")

    assert wait_until(lambda: side.returned) == [[2, 3]]


def test_a_recall_of_a_worker_that_waits_for_tasks_is_answered_with_none(side):
    waiting = threading.Thread(target=side.tasks.wait, args=(10,))
    waiting.start()
    wait_until(side.tasks._reading.locked)
    side.tasks.start()
    os.write(side.ring, b"!")

    assert wait_until(lambda: side.returned) == [[]]
    side.dispatch(1)
    waiting.join()


def test_what_was_sent_before_the_lease_was_lost_is_returned_when_more_is_sent_after_it(side):
    side.dispatch(1, 2)
    side.tasks.wait(0)
    side.dispatch(3, epoch=1)

    side.tasks.wait(0, may_start=False)

    assert side.returned == [[1, 2]]
    row = side.tasks.next()
    assert row is not None
    assert row[ID] == 3


def test_what_was_sent_before_the_lease_was_lost_is_returned_also_if_it_comes_after_the_loss_was_seen(side):
    side.tasks.return_older(1)
    side.dispatch(1, 2)

    side.tasks.wait(0)

    assert side.returned == [[1, 2]]
    assert side.tasks.next() is None
    side.dispatch(3, epoch=1)
    side.tasks.wait(0)
    assert side.tasks.next() == task_row(3)


def test_what_nobody_takes_back_after_the_lease_was_lost_is_left(side):
    side.tasks.return_older(1)
    side.manager_lives = False
    side.dispatch(1)

    side.tasks.wait(0)

    assert side.tasks.next() is None
    assert side.tasks.take_unstarted() == [task_row(1)]


def test_what_the_manager_asks_about_the_run_is_passed_on(side):
    message = Interrupt(3, "timeout", "too long")

    side.manager.send(message)
    side.manager.send(LogStacks())
    side.tasks.wait(0)

    assert side.interrupts == [message]
    assert side.stacks.is_set()
