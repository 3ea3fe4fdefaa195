"""What a processor is before and outside of a run."""

import pytest

from django_partisan import processor
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TaskRef


class Letter(BaseTaskProcessor):
    """Has no rules of its own."""


class Stubborn(BaseTaskProcessor):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=2, retry_pause=1)


def row(attempts: int = 0, retries: int = 0, postpones: int = 0) -> TaskRow:
    return (7, "Letter", "{}", 10, attempts, retries, postpones, 0, 0.5, None, 99)


def test_a_processor_holds_its_arguments():
    made = Letter(1, "a", to="Ada")

    assert (made.args, made.kwargs) == ((1, "a"), {"to": "Ada"})


def test_the_defaults_are_those_of_the_readme():
    assert BaseTaskProcessor.PRIORITY == 10
    assert BaseTaskProcessor.UNIQUE_FOR_PARAMS is True
    assert BaseTaskProcessor.QUEUE_NAME == "default"
    assert BaseTaskProcessor.RETRY_ON_ERROR_CONFIG is None
    assert BaseTaskProcessor.POSTPONE_CONFIG is None
    assert BaseTaskProcessor.ATOMIC is False


def test_a_processor_without_run_says_so():
    with pytest.raises(NotImplementedError, match="Letter has no run"):  # as Python says of what is abstract
        Letter().run()


def test_there_is_no_task_outside_of_a_run():
    with pytest.raises(RuntimeError, match=r"Letter\.task exists only while a worker runs the task"):
        _ = Letter().task


def test_in_a_run_the_task_tells_its_id_and_counters():
    made = Letter()
    made._row = row(attempts=4, retries=1, postpones=2)

    task = made.task

    assert (task.id, task.attempt, task.retries, task.postpones) == (7, 5, 1, 2)


@pytest.mark.parametrize(("retries", "is_last"), [(0, False), (1, False), (2, True)])
def test_the_last_attempt_is_known_as_such(retries, is_last):
    made = Stubborn()
    made._row = row(retries=retries)

    assert made.task.is_last_attempt is is_last


def test_in_a_run_a_processor_has_the_tools_that_were_provided(monkeypatch):
    monkeypatch.setattr(bus, "_tools", {})
    bus.provide("log", lambda task, processor_class: ("log", task, processor_class))
    bus.provide("metrics", lambda task, processor_class: ("metrics", task, processor_class))
    made = Letter()
    made._row = row(attempts=4, retries=1, postpones=2)
    named = TaskRef(7, "Letter", "default", 10, 5, 1, 2)

    assert made.log == ("log", named, Letter)
    assert made.metrics == ("metrics", named, Letter)
    assert made.log is made.log


def test_outside_of_a_run_there_are_no_tools():
    with pytest.raises(RuntimeError, match="exists only while a worker runs the task"):
        _ = Letter().log


def test_without_retries_every_attempt_is_the_last():
    made = Letter()
    made._row = row()

    assert made.task.is_last_attempt


def test_enqueueing_nothing_asks_nobody():
    assert processor.bulk_delay([]) == []
