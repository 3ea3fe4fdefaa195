"""Processors before, outside and during a run."""

from typing import Any

import pytest
from structlog.stdlib import BoundLogger
from typing_extensions import assert_type

from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.metrics.custom import Measures
from django_partisan.processor import BaseTaskProcessor, CurrentTask, bulk_delay
from django_partisan.telemetry.events.values import TaskRef
from tests.support.events import provided
from tests.support.registry import Idle
from tests.support.rows import task_row


class Letter(Idle):
    """A processor without options."""


class Stubborn(Idle):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=2, retry_pause=1)


def running(processor: BaseTaskProcessor, **counts: Any) -> BaseTaskProcessor:
    """Give a processor a current task."""
    definition = TaskDefinition.of_processor(type(processor))
    processor._current = CurrentTask(task_row(7, **counts), definition, "mail")
    return processor


def test_a_processor_holds_its_arguments():
    made = Letter(1, "a", to="Ada")

    assert (made.args, made.kwargs) == ((1, "a"), {"to": "Ada"})


def test_a_definition_has_the_options_of_its_class_by_default_those_of_the_readme():
    definition = TaskDefinition.of_processor(Letter)

    assert definition == TaskDefinition(
        name="Letter",
        source=Letter,
        call=definition.call,
        queue="default",
        priority=10,
        unique=True,
        atomic=False,
        retry=None,
        postpone=None,
        propagation=None,
        retries_as_queue=True,
    )
    stubborn = TaskDefinition.of_processor(Stubborn)
    assert (stubborn.retry, stubborn.retries_as_queue) == (Stubborn.RETRY_ON_ERROR_CONFIG, False)


def test_calling_a_definition_runs_its_processor_for_the_current_task():
    class Sum(BaseTaskProcessor):
        def run(self) -> tuple[int, int]:
            return self.task.id, sum(self.args) + self.kwargs["more"]

    definition = TaskDefinition.of_processor(Sum)

    assert definition.call([1, 2], {"more": 3}, CurrentTask(task_row(7), definition, "default")) == (7, 6)


def test_every_public_attribute_of_the_current_task_can_be_read():
    task = running(Letter()).task

    assert {name: getattr(task, name) for name in dir(task) if not name.startswith("_")} == {
        "id": 7,
        "processor": "Letter",
        "queue": "mail",
        "priority": 10,
        "arguments": ([], {}),
        "attempt": 1,
        "retries": 0,
        "postpones": 0,
        "scheduled_for": None,
        "is_last_attempt": True,
    }


def test_a_processor_without_run_says_so():
    class Empty(BaseTaskProcessor):
        """An abstract processor."""

    with pytest.raises(NotImplementedError, match="Empty has no run"):  # as Python's abstract methods do
        Empty().run()  # type: ignore[abstract]


@pytest.mark.parametrize("name", ["task", "log", "metrics"])
def test_outside_of_a_run_there_is_no_task_and_none_of_its_tools(name):
    with pytest.raises(RuntimeError, match=r"Letter\.task exists only while a worker runs the task"):
        getattr(Letter(), name)


def test_in_a_run_the_task_has_its_id_and_counters():
    task = running(Letter(), attempts=4, retries=1, postpones=2).task

    assert (task.id, task.attempt, task.retries, task.postpones) == (7, 5, 1, 2)


@pytest.mark.parametrize(
    ("processor", "retries", "is_last"),
    [(Stubborn(), 0, False), (Stubborn(), 1, False), (Stubborn(), 2, True), (Letter(), 0, True)],
)
def test_the_last_attempt_is_known_as_such(processor, retries, is_last):
    assert running(processor, retries=retries).task.is_last_attempt is is_last


@pytest.mark.parametrize(("queue", "is_last"), [("mail", False), ("default", True)])
def test_the_last_attempt_is_that_of_the_queue_for_a_processor_without_a_rule(queue, is_last, settings):
    settings.PARTISAN_CONFIG = {queue: {"DEFAULT_RETRY": ErrorsHandleConfig("*", 1, 1)}}

    assert running(Letter()).task.is_last_attempt is is_last
    assert running(Letter(), retries=1).task.is_last_attempt


def test_in_a_run_a_processor_has_the_tools_that_were_provided():
    made = running(Letter(), attempts=4, retries=1, postpones=2)

    with provided(
        log=lambda task, definition: ("log", task, definition.source),
        metrics=lambda task, definition: ("metrics", task, definition.source),
    ):
        log: Any = made.log
        metrics: Any = made.metrics

    named = TaskRef(7, "Letter", "mail", 10, 5, 1, 2)  # the queue of the manager that runs it
    assert log == ("log", named, Letter)
    assert metrics == ("metrics", named, Letter)
    assert made.log is log


def test_a_type_checker_knows_the_tools_of_a_run():
    made = running(Letter())

    # mypy compares the types with the declarations; the run has objects of these types.
    assert isinstance(assert_type(made.log, BoundLogger), BoundLogger)
    assert isinstance(assert_type(made.metrics, Measures), Measures)


def test_enqueueing_nothing_asks_nobody():
    assert bulk_delay([]) == []
