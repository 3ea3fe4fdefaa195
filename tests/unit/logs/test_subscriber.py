"""Which events the subscriber logs, in any host's logging, and the lines that tasks log themselves."""

import json
import logging
import logging.handlers
import queue

import ecs_logging
import pytest
import structlog

from django_partisan.logs import LOG_EVENTS, LogSubscriber, install, task_logger
from django_partisan.logs.log_event import MANAGER, WORKER
from django_partisan.logs.subscriber import LOGGER
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.queues import OutcomesSettled
from django_partisan.telemetry.events.runs import TaskCompleted, TaskStarted
from django_partisan.telemetry.events.tasks import TaskDeduplicated, TaskEnqueued
from django_partisan.telemetry.events.telemetry import (
    MetricsUnknown,
    PipeBroken,
    TelemetryDropped,
    TelemetryFlushTimedOut,
)
from django_partisan.telemetry.events.workers import WorkerExited
from tests.support.events import RecordedEvents
from tests.support.waiting import PATIENCE_SECONDS
from tests.unit.logs import samples
from tests.unit.logs.conftest import flat

COMPLETED = TaskCompleted(samples.RUN, 0.5)
FORMATTERS = [
    ecs_logging.StdlibFormatter(),
    structlog.stdlib.ProcessorFormatter(
        processor=structlog.processors.JSONRenderer(),
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
    ),
]


@pytest.mark.parametrize("role", [MANAGER, WORKER])
def test_only_what_the_level_lets_through_is_wanted(role):
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    subscriber = LogSubscriber(role)

    assert subscriber.wants(TaskCompleted)
    assert subscriber.wants(WorkerExited)
    assert not subscriber.wants(TaskStarted)
    assert not subscriber.wants(OutcomesSettled)


def test_events_of_each_task_of_a_bulk_are_wanted_at_debug_alone():
    subscriber = LogSubscriber()

    wanted = []
    for level in (logging.INFO, logging.DEBUG, logging.INFO):
        logging.getLogger(LOGGER).setLevel(level)  # without a refresh, as an application may do
        wanted.append(subscriber.wants_in_bulk(TaskEnqueued))

    assert wanted == [False, True, False]


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_an_event_whose_level_varies_is_wanted_for_its_highest(level):
    logging.getLogger(LOGGER).setLevel(level)

    assert LogSubscriber(MANAGER).wants(WorkerExited)


def test_at_error_the_expected_exits_of_workers_are_not_logged(caplog):
    logging.getLogger(LOGGER).setLevel(logging.ERROR)

    LogSubscriber(MANAGER).handle(WorkerExited("default", 0, 0, 1, 0, None, "recycled", None, None))

    assert caplog.records == []


def test_what_is_dropped_is_told_for_every_reason_and_is_counted_where_it_happens(caplog):
    manager, worker, counted = LogSubscriber(MANAGER), LogSubscriber(WORKER), RecordedEvents()
    bus.subscribe(counted)

    manager.handle(PipeBroken("default", 0, "torn"))
    manager.handle(MetricsUnknown("default", 2))
    swallowed.counts["headers"] += 3
    worker.handle(TelemetryFlushTimedOut("default", 5.0))
    manager.absorb(0, worker.take() or {})
    manager.absorb(0, {"log_output_stalled": 4})
    manager.close(PATIENCE_SECONDS)

    lines = [vars(record) for record in caplog.records if record.name == "django_partisan.manager"]
    told = [line for line in lines if line["event.action"] == "telemetry.dropped"]
    assert worker.take() is None
    assert {line["event.reason"]: line["message"] for line in told} == {
        "pipe_broken": "Dropped metrics of 1 worker: pipe broken",
        "unknown_metric": "Dropped 2 increments: metric unknown to the manager",
        "context": "Dropped 3 carried contexts: too long, or cannot be stored",
        "flush_timeout": "Dropped telemetry of 1 worker: not flushed in time",
    }
    assert counted.of(TelemetryDropped) == [TelemetryDropped("default", "log_output_stalled", 4)], (
        "the others are counted by the metrics themselves"
    )


def test_an_application_may_change_its_levels_at_any_time(caplog):
    install()
    bus.emit(TaskDeduplicated, samples.TASK)
    with caplog.at_level(logging.INFO, LOGGER):
        bus.emit(TaskDeduplicated, samples.TASK)

    assert [record.getMessage() for record in caplog.records] == [
        "Task 12 (SendMail) is already waiting; no duplicate enqueued"
    ]


def test_an_application_without_logging_prints_nothing_when_a_task_is_enqueued(monkeypatch, capfd):
    monkeypatch.setattr(logging.root, "handlers", [])
    install()

    bus.emit(TaskEnqueued, samples.TASK, samples.NOON, False)
    bus.emit(TaskDeduplicated, samples.TASK)

    assert capfd.readouterr() == ("", "")


def test_any_handler_finds_the_fields_in_the_record(caplog):
    structlog.contextvars.bind_contextvars(name="host", message="odd")
    with caplog.at_level(logging.INFO, LOGGER):
        LogSubscriber().handle(COMPLETED)

    (record,) = caplog.records
    found = vars(record)
    assert record.getMessage() == "Task 12 (SendMail) completed in 0.500 s"
    assert found["event.action"] == "task.completed"
    assert found["event.module"] == "partisan"
    assert found["partisan.task.id"] == "12"
    assert (found["labels.name"], found["labels.message"]) == ("host", "odd")


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda formatter: type(formatter).__name__)
def test_every_event_passes_through_a_queue_and_a_hosts_formatter(caplog, formatter):
    handler = logging.handlers.QueueHandler(queue.SimpleQueue())

    with caplog.at_level(logging.DEBUG, LOGGER):
        for event in samples.FULL:
            LogSubscriber().handle(event)

    actions = [
        flat(json.loads(formatter.format(handler.prepare(record))))["event.action"]
        for record in caplog.records
    ]
    assert actions == [LOG_EVENTS[type(event)].action for event in samples.FULL]


def test_a_log_call_that_raises_is_counted_and_reported_once_a_minute(last_resort, monkeypatch):
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    monkeypatch.setattr(logging.getLogger(f"{LOGGER}.app"), "filters", [lambda record: [][0]])

    for _ in range(3):
        LogSubscriber().handle(COMPLETED)

    assert swallowed.counts["logs"] == 3
    (reported,) = last_resort
    assert reported.startswith("The event task.completed could not be logged: IndexError.")


def test_a_task_logs_under_its_own_name_with_its_fields(lines):
    log = task_logger(samples.RUN)

    log.info("sent %d mails", 3, recipients=3, password="hunter2", event_id=None)

    (line,) = lines()
    assert line["message"] == "sent 3 mails"
    assert line["log.logger"] == "django_partisan.task"
    assert (line["partisan.task.id"], line["partisan.processor"]) == ("12", "SendMail")
    assert (line["labels.recipients"], line["labels.password"]) == ("3", "[redacted]")
    assert "event.action" not in line


def test_what_a_task_binds_stands_in_its_next_lines(lines):
    log = task_logger(samples.RUN).bind(batch=7)

    log.warning("slow")

    assert (lines()[0]["labels.batch"], lines()[0]["log.level"]) == ("7", "warning")


def test_context_stands_in_a_tasks_lines_and_its_own_keys_win(lines):
    structlog.contextvars.bind_contextvars(request_id="r1", batch=1)

    task_logger(samples.RUN).info("x", batch=2)

    assert (lines()[0]["labels.request_id"], lines()[0]["labels.batch"]) == ("r1", "2")


def test_a_task_can_log_an_exception(lines):
    try:
        raise KeyError("k")
    except KeyError:
        task_logger(samples.RUN).exception("odd")

    (line,) = lines()
    assert (line["error.type"], line["log.level"]) == ("KeyError", "error")
    assert "Traceback" in line["error.stack_trace"]


def test_what_a_task_logs_below_the_level_is_dropped(lines):
    logging.getLogger(LOGGER).setLevel(logging.INFO)

    task_logger(samples.RUN).debug("x")

    assert lines() == []


def test_a_task_that_logs_wrongly_goes_on(lines, last_resort):
    task_logger(samples.RUN).info("%d mails", "three")

    assert lines() == []
    assert swallowed.counts["logs"] == 1
    assert last_resort[0].startswith("A line of a task could not be logged: TypeError")


def test_a_tasks_lines_reach_any_handler(caplog):
    with caplog.at_level(logging.INFO, LOGGER):
        task_logger(samples.RUN).info("hello", batch=1)

    assert vars(caplog.records[0])["labels.batch"] == "1"
