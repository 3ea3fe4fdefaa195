"""Django signals about tasks: what is sent to whom, and what happens when a receiver raises."""

from collections.abc import Iterator
from typing import Any

import pytest

from django_partisan import registry, signals
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.queues import TasksClaimed
from django_partisan.telemetry.events.runs import (
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
    TaskStarted,
)
from django_partisan.telemetry.events.tasks import TaskEnqueued
from django_partisan.telemetry.events.workers import WorkerStopping
from tests.support.registry import Idle
from tests.unit.logs import samples


class Received(list[dict[str, Any]]):
    """A receiver that stores the values sent to it."""

    def __call__(self, **values: Any) -> None:
        self.append(values)


class SendMail(Idle):
    pass


@pytest.fixture(autouse=True)
def installed(own_registry) -> Iterator[None]:
    registry.register(SendMail)
    before = bus.subscribers()
    signals.install()
    signals.install()
    yield
    if signals._subscriber not in before:
        bus.unsubscribe(signals._subscriber)


@pytest.fixture
def received() -> Iterator[Received]:
    receiver = Received()
    every = (signals.task_enqueued, signals.task_started, signals.task_finished, signals.worker_stopping)
    for signal in every:
        signal.connect(receiver)
    yield receiver
    for signal in every:
        signal.disconnect(receiver)


def test_nothing_is_wanted_without_a_receiver():
    assert not any(map(signals.SignalSubscriber().wants, (TaskEnqueued, TaskCompleted)))


def test_events_without_a_signal_are_never_wanted(received):
    assert not signals.SignalSubscriber().wants(TasksClaimed)


def test_a_worker_that_stops_is_sent_with_its_queue_and_slot(received):
    bus.emit(WorkerStopping, "mail", 3, 7)

    (values,) = received
    assert values == {"signal": signals.worker_stopping, "sender": None, "queue": "mail", "slot": 3}


def test_an_enqueued_task_is_sent_once_to_those_of_its_processor(received):
    bus.emit(TaskEnqueued, samples.TASK, samples.NOON, True)

    (values,) = received
    assert values.pop("signal") is signals.task_enqueued
    assert values == {"sender": SendMail, "task": samples.TASK, "due_at": samples.NOON, "scheduled": True}


def test_a_started_task_is_sent(received):
    bus.emit(TaskStarted, samples.RUN)

    assert (received[0]["signal"], received[0]["task"]) == (signals.task_started, samples.RUN)


@pytest.mark.parametrize(
    ("event", "outcome", "error"),
    [
        (TaskCompleted(samples.RUN, 0.5), "completed", None),
        (TaskPostponed(samples.RUN, 0.5, 3.0, None), "postponed", None),
        (TaskRetried(samples.RUN, 0.5, 3.0, 1, samples.ERROR), "retried", samples.ERROR),
        (TaskFailed(samples.RUN, 0.5, "error", samples.ERROR), "failed", samples.ERROR),
        (TaskCancelled(samples.RUN, 0.5, samples.ERROR), "failed", samples.ERROR),
    ],
)
def test_a_finished_task_is_sent_with_its_outcome(received, event, outcome, error):
    bus.emit(type(event), *event)

    (values,) = received
    assert values["signal"] is signals.task_finished
    assert (values["task"], values["outcome"], values["error"]) == (samples.RUN, outcome, error)


def test_a_receiver_can_choose_a_processor():
    receiver = Received()

    signals.task_started.connect(receiver, sender=SendMail)
    bus.emit(TaskStarted, samples.RUN)
    bus.emit(TaskStarted, samples.RUN._replace(processor="Unknown"))
    signals.task_started.disconnect(receiver, sender=SendMail)

    assert len(receiver) == 1


def test_a_receiver_gets_what_is_sent_while_it_is_connected():
    receiver = Received()
    bus.emit(TaskStarted, samples.RUN)

    signals.task_started.connect(receiver)
    bus.emit(TaskStarted, samples.RUN)
    signals.task_started.disconnect(receiver)
    bus.emit(TaskStarted, samples.RUN)

    assert len(receiver) == 1


def test_a_receiver_that_raises_is_counted_and_the_others_receive(received, caplog):
    def broken(**values: Any) -> None:
        raise RuntimeError("broken")

    signals.task_started.connect(broken)
    bus.emit(TaskStarted, samples.RUN)
    signals.task_started.disconnect(broken)

    assert len(received) == 1
    assert swallowed.counts["signals"] == 1
    assert "Error calling" in caplog.text
