"""The host's lines inside a run name its task: with a filter, a structlog processor, and our formatters."""

import asyncio
import json
import logging
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from django_partisan import registry
from django_partisan.engine.worker.executor import Executor
from django_partisan.logs import ConsoleFormatter, EcsFormatter, TaskFilter, add_running_task, task_logger
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.runs import TaskStarted
from tests.support.engine import config_of
from tests.support.events import subscribed
from tests.support.rows import task_row
from tests.unit.logs import samples

pytestmark = pytest.mark.usefixtures("own_registry", "no_subscribers")

NAMED = {
    "partisan_task_id": 7,
    "partisan_processor": "Letter",
    "partisan_queue": "default",
    "partisan_attempt": 3,
}
shop = logging.getLogger("shop")


class Written(logging.Handler):
    """Store each record, and its text as formatted when it is logged."""

    def __init__(self, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))


@contextmanager
def handled_by(handler: logging.Handler, logger: logging.Logger = shop) -> Iterator[None]:
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def run(work: Callable[[], Any]) -> None:
    """Run a task that calls ``work``."""

    class Letter(BaseTaskProcessor):
        def run(self) -> Any:
            work()

    registry.register(Letter)
    row = task_row(7, "Letter", attempts=2)
    result = Executor(config_of(), 0, 1, {}).execute(row)
    assert result.error is None, result.error


def named_by(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name in NAMED}


def test_the_filter_names_the_task_of_a_line_and_nothing_outside_of_a_run():
    handler = Written()
    handler.addFilter(TaskFilter())

    with handled_by(handler):
        run(lambda: shop.info("inside"))
        shop.info("outside")

    inside, outside = map(named_by, handler.records)
    assert inside == NAMED
    assert outside == dict.fromkeys(NAMED, "-")


def test_what_stands_for_no_task_may_be_chosen():
    record = logging.makeLogRecord({})

    assert TaskFilter(missing=None).filter(record)
    assert named_by(record) == dict.fromkeys(NAMED)


def test_a_line_of_a_coroutine_names_its_task():
    handler = Written()
    handler.addFilter(TaskFilter())

    class Letter(BaseTaskProcessor):
        async def run(self) -> None:
            await asyncio.sleep(0)
            shop.info("inside")

    registry.register(Letter)
    with handled_by(handler):
        Executor(config_of(), 0, 1, {}).execute(task_row(7, "Letter", attempts=2))

    assert named_by(handler.records[0]) == NAMED


def test_a_line_of_what_receives_the_start_of_a_run_names_its_task():
    class LogStart(bus.Subscriber):
        def wants(self, kind: type[Event]) -> bool:
            return kind is TaskStarted

        def handle(self, event: Event) -> None:
            shop.info("starts")

    handler = Written()
    handler.addFilter(TaskFilter())

    with handled_by(handler), subscribed(LogStart()):
        run(lambda: None)

    assert named_by(handler.records[0]) == NAMED


def test_a_line_of_structlogs_names_the_task_and_a_key_of_the_hosts_own_wins():
    found: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, event_dict: Any) -> Any:
        found.append(event_dict)
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[add_running_task, keep])

    run(lambda: log.info("inside", partisan_attempt="mine"))
    log.info("outside")

    assert found == [{"event": "inside", **NAMED, "partisan_attempt": "mine"}, {"event": "outside"}]


OF_TASK = {
    "partisan.task.id": "7",
    "partisan.processor": "Letter",
    "partisan.queue.name": "default",
    "partisan.task.attempt": 3,
}


def test_our_formatter_names_the_task_and_the_span_of_a_foreign_line():
    handler = Written(EcsFormatter())
    span = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("send mail")

    def work() -> None:
        with trace.use_span(span), structlog.contextvars.bound_contextvars(request_id="r1"):
            shop.info("inside", extra={"basket": 3})

    with handled_by(handler):
        run(work)
        shop.info("outside")

    inside, outside = map(json.loads, handler.lines)
    context = span.get_span_context()
    assert {name: inside[name] for name in OF_TASK} == OF_TASK
    assert inside["trace.id"] == trace.format_trace_id(context.trace_id)
    assert inside["span.id"] == trace.format_span_id(context.span_id)
    assert (inside["labels.request_id"], inside["labels.basket"]) == ("r1", "3")
    assert not {*OF_TASK, "trace.id", "span.id"} & outside.keys()
    assert inside["event.id"] != outside["event.id"]
    assert not {"event.kind", "event.module", "event.dataset"} & inside.keys(), "it is no event of ours"


def test_a_line_that_another_thread_formats_names_its_task_by_the_filter():
    passed_on: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = QueueHandler(passed_on)
    handler.addFilter(TaskFilter())

    with handled_by(handler):
        run(lambda: shop.info("inside"))
        shop.info("outside")

    inside, outside = (json.loads(EcsFormatter().format(passed_on.get())) for _ in range(2))
    assert {name: inside[name] for name in OF_TASK} == OF_TASK
    assert not set(OF_TASK) & outside.keys()
    assert not [name for name in (*inside, *outside) if name.startswith("labels.")]


def test_the_filter_of_a_queues_target_keeps_the_task_that_the_record_names():
    passed_on: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler, target = QueueHandler(passed_on), Written(EcsFormatter())
    for one in (handler, target):
        one.addFilter(TaskFilter())

    with handled_by(handler):
        run(lambda: shop.info("inside"))
        shop.info("outside")
    while not passed_on.empty():
        target.handle(passed_on.get())

    inside, outside = map(named_by, target.records)
    assert inside == NAMED
    assert outside == dict.fromkeys(NAMED, "-")
    assert {name: json.loads(target.lines[0])[name] for name in OF_TASK} == OF_TASK


def test_the_filter_of_a_target_that_another_task_calls_keeps_the_task_of_the_record():
    handler = Written()
    handler.addFilter(TaskFilter())
    other = NAMED | {"partisan_task_id": 5}

    run(lambda: handler.handle(logging.makeLogRecord(other)))

    assert named_by(handler.records[0]) == other


def test_console_lines_of_a_task_show_it_and_its_processor():
    handler = Written(ConsoleFormatter(colors=False))

    with handled_by(handler):
        run(lambda: shop.info("inside"))

    assert handler.lines[0].endswith("[shop] queue=default task=7 processor=Letter attempt=3")


def test_console_lines_of_self_log_show_the_task_and_its_processor():
    handler = Written(ConsoleFormatter(colors=False))

    with handled_by(handler, logging.getLogger("django_partisan.task")):
        task_logger(samples.RUN).info("sent", to="ada")

    assert handler.lines[0].endswith("[task] queue=default task=12 processor=SendMail attempt=2 to=ada")
