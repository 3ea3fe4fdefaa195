"""A manager's handlers are called in a thread, in order, and nothing waits for them."""

import logging
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from django_partisan.logs import dropped
from django_partisan.logs.dropped import Dropped
from django_partisan.logs.logging_thread import LoggingThread
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.telemetry import TelemetryDropped
from tests.support.waiting import wait_until

PATIENCE = 20.0
NAME = "tests.logging_thread"


class Host(logging.Handler):
    """A handler that does not return while its gate is closed, and records messages and threads."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.messages: list[str] = []
        self.threads: set[str] = set()
        self.raises: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        self.messages.append(record.getMessage())
        self.threads.add(threading.current_thread().name)


class Reported(bus.Subscriber):
    """Record the events about dropped telemetry."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def wants(self, kind: type[Event]) -> bool:
        return kind is TelemetryDropped

    def handle(self, event: Event) -> None:
        self.events.append(event)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def host() -> Iterator[Host]:
    handler, logger = Host(), logging.getLogger(NAME)
    logger.addHandler(handler)
    yield handler
    handler.gate.set()
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.fixture
def reported() -> list[Event]:
    subscriber = Reported()
    bus.subscribe(subscriber)
    return subscriber.events


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def thread(clock: Clock) -> Iterator[LoggingThread]:
    dropped.taken()
    made = LoggingThread(Dropped("mail", clock), queue_max=3)
    yield made
    made.close(PATIENCE)


@pytest.fixture
def log(thread: LoggingThread) -> Callable[..., None]:
    def log_all(*messages: str) -> None:
        for message in messages:
            thread.log(logging.makeLogRecord({"name": NAME, "msg": message, "levelno": logging.INFO}))

    return log_all


def test_records_are_handled_in_order_in_a_thread_of_their_own(host, thread, log):
    log("one", "two", "three")

    assert thread.close(PATIENCE)
    assert host.messages == ["one", "two", "three"]
    assert host.threads == {"partisan-logging"}


def test_a_handled_record_is_freed_while_the_thread_waits_for_the_next(host, thread):
    logging.getLogger(NAME).propagate = False  # pytest keeps every record that reaches the root
    record = logging.makeLogRecord({"name": NAME, "msg": "one", "levelno": logging.INFO})
    reference = weakref.ref(record)

    thread.log(record)
    del record

    wait_until(lambda: host.messages == ["one"])
    wait_until(lambda: reference() is None, seconds=2)


def test_a_record_after_the_end_starts_the_thread_again(host, thread, log):
    log("one")
    assert thread.close(PATIENCE)

    log("two")

    assert thread.close(PATIENCE)
    assert host.messages == ["one", "two"]


def test_a_handler_that_does_not_return_holds_up_nobody_and_drops_what_exceeds_the_queue(
    host, thread, log, reported
):
    host.gate.clear()
    log("0")
    assert host.entered.wait(PATIENCE)

    log("1", "2", "3", "4", "5")

    assert not thread.close(0.0)
    host.gate.set()
    assert thread.close(PATIENCE)
    assert host.messages == ["0", "1", "2", "3"]
    assert reported == [TelemetryDropped("mail", "log_handler_stalled", 2)]


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(1)])
def test_a_handler_that_raises_costs_its_line_alone(host, thread, log, last_resort, error):
    host.raises = error

    log("one", "two")

    assert thread.close(PATIENCE)
    assert host.messages == ["two"]
    assert swallowed.counts["logs"] == 1
    assert last_resort[0].startswith("A line could not be logged")


def test_what_workers_drop_is_reported_at_once_and_then_once_a_minute(thread, reported, clock):
    thread.add_dropped({"log_output_stalled": 3})
    while not reported:
        assert thread._thread is not None

    thread.add_dropped({"log_output_stalled": 4})
    clock.now = 30.0
    thread.add_dropped({"log_output_stalled": 5})
    before = list(reported)
    clock.now = 60.0
    thread.add_dropped({})
    while len(reported) < 2:
        assert thread._thread is not None

    assert before == [TelemetryDropped("mail", "log_output_stalled", 3)]
    assert reported[1:] == [TelemetryDropped("mail", "log_output_stalled", 9)]


def test_what_is_not_reported_yet_is_reported_at_the_end(thread, reported):
    for lines in (3, 4):
        thread.add_dropped({"log_output_stalled": lines})
        assert thread.close(PATIENCE)

    assert [event.number for event in reported] == [3, 4]


def test_contexts_that_the_manager_drops_itself_are_logged():
    logged: list[TelemetryDropped] = []
    dropped.taken()
    lines = Dropped("mail", log=logged.append)

    swallowed.counts["headers"] += 2
    assert lines.due_in() == 0.0
    lines.report()

    assert logged == [TelemetryDropped("mail", dropped.CONTEXT, 2)]


def test_reports_are_due_when_their_minute_is_over(clock, reported):
    lines = Dropped("mail", clock)
    assert lines.due_in() is None
    dropped.count(dropped.OUTPUT_STALLED)
    assert lines.due_in() == 0.0

    lines.report()
    dropped.count(dropped.OUTPUT_STALLED)
    clock.now = 20.0

    assert lines.due_in() == 40.0
