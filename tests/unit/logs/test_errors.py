"""An error passes its exception to the handlers, and its message is a template by which trackers group."""

import logging
import traceback
from collections import defaultdict
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.engine.worker.executor import Executor
from django_partisan.logs import LOG_EVENTS, LogSubscriber, task_logger
from django_partisan.logs.log_event import APP, WORKER
from django_partisan.logs.subscriber import LOGGER
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import ClaimFailed
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.tasks import TaskEnqueueFailed
from django_partisan.telemetry.events.values import ErrorInfo
from tests.support.engine import config_of
from tests.support.rows import task_row
from tests.unit.logs import samples
from tests.unit.logs.conftest import Lines


class Refused(Exception):
    """An error of the host application."""


@pytest.fixture
def raised() -> Refused:
    try:
        raise Refused("no such mailbox, 5 % full")
    except Refused as error:
        return error


def logged(caplog: pytest.LogCaptureFixture, *sample: Any) -> list[logging.LogRecord]:
    with caplog.at_level(logging.DEBUG, LOGGER):
        for event in sample:
            LogSubscriber().handle(event)
    return caplog.records


def failed(error: Exception) -> TaskFailed:
    return TaskFailed(samples.RUN, 0.5, "error", ErrorInfo.of(error))


def test_a_final_failure_hands_its_exception_to_the_handlers(caplog, raised):
    (record,) = logged(caplog, failed(raised))

    assert record.exc_info == (Refused, raised, raised.__traceback__)
    assert "\nTraceback (most recent call last):\n" in logging.Formatter().format(record)


def test_the_traceback_of_a_failed_run_begins_in_the_tasks_own_code(caplog, own_registry):
    """Trackers store the locals of every frame; our frames contain the row and the arguments."""

    class Refusing(BaseTaskProcessor):
        def run(self) -> None:
            raise Refused

    registry.register(Refusing)
    row = task_row(1, "Refusing", arguments='{"args": [], "kwargs": {"password": "hunter2"}}')

    with caplog.at_level(logging.ERROR, LOGGER):
        Executor(config_of(), slot=3, generation=5, claim_times={}).execute(row)

    (record,) = caplog.records
    assert record.exc_info is not None
    frames = [frame for frame, _ in traceback.walk_tb(record.exc_info[2])]
    assert [frame.f_code.co_name for frame in frames] == ["run"]
    assert "in _run\n" in vars(record)["error.stack_trace"], "our own line still has all of it"


def test_an_exception_raised_in_our_code_alone_has_no_traceback(caplog, own_registry):
    class NotExecuted(BaseTaskProcessor):
        def run(self) -> Any:
            return (letter for letter in "mail")

    registry.register(NotExecuted)

    with caplog.at_level(logging.ERROR, LOGGER):
        Executor(config_of(), slot=3, generation=5, claim_times={}).execute(task_row(1, "NotExecuted"))

    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[2] is None


def test_a_failure_without_a_run_hands_over_an_exception_without_a_traceback(caplog):
    lost = Refused("its worker died")
    event = TaskFailed(samples.TASK, None, "worker_lost", ErrorInfo.of(lost))

    (record,) = logged(caplog, event)

    assert record.exc_info == (Refused, lost, None)


def test_every_error_that_has_an_exception_hands_it_over_and_nothing_else_does(caplog, raised):
    info = ErrorInfo.of(raised)
    with_errors = [event._replace(error=info) if hasattr(event, "error") else event for event in samples.FULL]

    records = logged(caplog, *with_errors)

    handed_over = {vars(record)["event.action"] for record in records if record.exc_info}
    assert handed_over == {
        LOG_EVENTS[type(event)].action
        for event in with_errors
        if hasattr(event, "error") and LOG_EVENTS[type(event)].level_of(event) == logging.ERROR
    }
    assert "task.failed" in handed_over
    assert "task.retried" not in handed_over


def test_an_enqueueing_that_fails_in_a_run_leaves_its_exception_to_the_line_of_the_run(caplog, raised):
    """Otherwise, an error tracker would get an event for a retry."""
    event = TaskEnqueueFailed("default", "SendMail", 10, ErrorInfo.of(raised))

    with caplog.at_level(logging.ERROR, LOGGER):
        for role in (APP, WORKER):
            LogSubscriber(role).handle(event)

    of_app, of_worker = caplog.records
    assert of_app.exc_info is not None
    assert of_worker.exc_info is None


def test_an_error_known_only_by_its_text_hands_over_nothing(caplog):
    (record,) = logged(caplog, ClaimFailed("default", samples.ERROR))

    assert record.exc_info is None


def test_the_line_of_ours_is_the_same_with_and_without_the_exception(lines: Lines, raised):
    info = ErrorInfo.of(raised)

    bus.emit(TaskFailed, samples.RUN, 0.5, "error", info)
    bus.emit(TaskFailed, samples.RUN, 0.5, "error", info._replace(exception=None))

    with_exception, without = lines()
    assert with_exception.keys() == without.keys()
    different = {name for name in without if with_exception[name] != without[name]}
    assert different <= {"@timestamp", "event.id"}


def test_the_message_template_of_an_event_is_always_the_same(caplog):
    templates = defaultdict(set)

    for record in logged(caplog, *samples.FULL, *samples.BARE):
        templates[vars(record)["event.action"]].add(record.msg)

    assert {action: found for action, found in templates.items() if len(found) > 1} == {}
    assert templates["task.failed"] == {"Task %s (%s) failed (%s): %s"}


def test_a_percent_sign_in_an_error_is_only_text(caplog, raised):
    (record,) = logged(caplog, failed(raised))

    assert record.getMessage() == "Task 12 (SendMail) failed (error): Refused: no such mailbox, 5 % full"


@pytest.mark.parametrize("arguments", [("shop", 3), ({"shop": "shop", "n": 3},)])
def test_the_template_of_a_tasks_own_line_stays_one(caplog, arguments):
    template = "%s has %d mails" if len(arguments) == 2 else "%(shop)s has %(n)d mails"
    with caplog.at_level(logging.INFO, LOGGER):
        task_logger(samples.RUN).info(template, *arguments)

    assert caplog.records[0].msg == template
    assert caplog.records[0].getMessage() == "shop has 3 mails"
