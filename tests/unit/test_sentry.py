"""Sentry in one worker: the content of a run's event, no leak into the next run, one event per failure.

The SDK is set up without its integrations, which patch the process; its log handler is added to our
logger instead.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import EventHandler
from sentry_sdk.transport import Transport

from django_partisan import registry, sentry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.engine.worker.executor import Executor
from django_partisan.logs import LogSubscriber
from django_partisan.logs.log_event import MANAGER, WORKER
from django_partisan.logs.subscriber import LOGGER
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.scopes import Enqueueing, Running
from django_partisan.telemetry.events.tasks import TaskEnqueueFailed
from django_partisan.telemetry.events.values import ErrorInfo
from tests.support.engine import config_of
from tests.support.events import subscribed
from tests.support.rows import task_row
from tests.support.waiting import PATIENCE_SECONDS
from tests.unit.logs import samples

pytestmark = pytest.mark.usefixtures("own_registry", "no_subscribers")


class Kept(Transport):
    """Store events instead of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.timeouts: list[float] = []
        self.is_free = threading.Event()
        self.is_free.set()

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events.append(dict(envelope.get_event() or {}))

    def flush(self, timeout: float, callback: Any = None) -> None:
        self.is_free.wait(PATIENCE_SECONDS)
        self.timeouts.append(timeout)


class Refused(Exception):
    """An error of the host application."""


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Letter(BaseTaskProcessor):
    """Change Sentry's scope as the argument says, then fail."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([TimeoutError], 3, 1)
    error: Exception = Refused("one object, raised again and again")

    def run(self) -> None:
        way = self.args[0]
        if way == "mark":
            sentry_sdk.set_tag("customer", "ada")
            sentry_sdk.set_user({"id": "7"})
            sentry_sdk.get_current_scope().set_extra("basket", 3)
            sentry_sdk.add_breadcrumb(message="looked at the basket")
        if way == "message":
            sentry_sdk.capture_message("half done")
            return
        if way == "cause":
            TaskDefinition.of_processor(Letter).call(["own"], {}, None)  # like a task that calls our code
        if way.startswith("enqueue"):
            error = TimeoutError() if way.endswith("retry") else Refused()
            bus.emit(TaskEnqueueFailed, "default", "Letter", 10, ErrorInfo.of(error))
            raise error
        if way == "own":
            raise Refused
        if way == "wordless":
            raise Wordless
        if way == "retry":
            raise TimeoutError
        raise self.error


@pytest.fixture(autouse=True)
def processor(own_registry: None) -> None:
    registry.register(Letter)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Set up Sentry in this process, and remove it after the test."""
    monkeypatch.setattr(sentry_sdk.scope, "_global_scope", None)  # clear() leaves its event processors
    transport = Kept()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        transport=transport,
        default_integrations=False,
        enable_backpressure_handling=False,
    )
    yield transport
    for scope in (sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()):
        scope.clear()
    sentry_sdk.get_global_scope().clear()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def logged_to_sentry(kept: Kept) -> Iterator[None]:
    """Send error lines to Sentry, as its logging integration does."""
    handler = EventHandler(logging.ERROR)
    for name in (LOGGER, "django.tasks"):
        logging.getLogger(name).addHandler(handler)
    bus.subscribe(LogSubscriber(WORKER))
    yield
    for name in (LOGGER, "django.tasks"):
        logging.getLogger(name).removeHandler(handler)


def run(*ways: str) -> None:
    """Run one task for each way, in the same worker."""
    executor = Executor(config_of(), slot=3, generation=5, claim_times={})
    for number, way in enumerate(ways, 1):
        executor.execute(task_row(number, "Letter", arguments=f'{{"args": ["{way}"], "kwargs": {{}}}}'))


def test_an_event_of_a_run_names_the_task(kept: Kept):
    sentry.install(WORKER)

    run("message")

    [event] = kept.events
    assert event["message"] == "half done"
    assert event["transaction"] == "Letter"
    assert event["tags"] == {
        "partisan.task_id": "1",
        "partisan.processor": "Letter",
        "partisan.queue": "default",
        "partisan.attempt": "1",
    }


def test_nothing_of_one_task_stands_in_the_event_of_the_next(kept: Kept, logged_to_sentry: None):
    sentry.install(WORKER)

    run("mark", "plain", "message")
    sentry_sdk.capture_message("between two tasks")

    marked, *others, between = kept.events
    assert marked["tags"]["customer"] == "ada"
    assert (marked["user"], marked["extra"]["basket"]) == ({"id": "7"}, 3)
    assert [crumb["message"] for crumb in marked["breadcrumbs"]["values"]] == ["looked at the basket"]
    assert [event["tags"]["partisan.task_id"] for event in others] == ["2", "3"]
    for event in (*others, between):
        assert "customer" not in event.get("tags", {})
        assert "basket" not in event.get("extra", {})
        assert not event.get("breadcrumbs", {}).get("values")
        assert "user" not in event
    assert "tags" not in between


def test_what_was_noted_between_two_runs_is_no_breadcrumb_of_the_next(kept: Kept):
    sentry.install(WORKER)

    sentry_sdk.add_breadcrumb(message="of no task")
    run("message")

    assert not kept.events[0]["breadcrumbs"]["values"]


def test_a_failure_is_one_event_which_is_made_of_the_log_line(kept: Kept, logged_to_sentry: None):
    sentry.install(WORKER)

    run("plain")

    [event] = kept.events
    assert event["logentry"]["message"] == "Task %s (%s) failed (%s): %s"
    [exception] = event["exception"]["values"]
    assert (exception["type"], exception["stacktrace"]["frames"][-1]["function"]) == ("Refused", "run")


def test_a_failure_whose_exception_cannot_describe_itself_is_an_event_with_its_frames(
    kept: Kept, logged_to_sentry: None
):
    sentry.install(WORKER)

    run("wordless")

    [exception] = kept.events[0]["exception"]["values"]
    assert (exception["type"], exception["stacktrace"]["frames"][-1]["function"]) == ("Wordless", "run")


def test_a_failure_is_one_event_where_log_lines_make_none(kept: Kept):
    sentry.install(WORKER)

    run("plain")

    [event] = kept.events
    assert event["exception"]["values"][0]["type"] == "Refused"
    assert event["tags"]["partisan.processor"] == "Letter"


def connect(dsn: str) -> None:
    """Raise, like a connection to a database that does not answer."""
    raise Refused


def frames_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]


def test_of_an_exception_that_the_worker_sends_no_frame_of_ours_is_stored(kept: Kept):
    sentry.install(WORKER)

    run("own")

    assert [frame["function"] for frame in frames_of(kept.events[0])] == ["run"]


def test_a_frame_of_ours_is_stored_without_its_locals(kept: Kept):
    """An error's cause, or an error that the task captures itself, contains our frames."""
    sentry.install(WORKER)

    run("cause")

    ours = [frame for frame in frames_of(kept.events[0]) if frame["module"].startswith("django_partisan.")]
    assert ours
    assert not [frame["vars"] for frame in ours if frame.get("vars")]
    assert [frame["vars"] for frame in frames_of(kept.events[0]) if frame["function"] == "run"]


class LogAgain(bus.Subscriber):
    """Log a failure once more, as ``django.tasks`` does for the tasks of a backend."""

    def wants(self, kind: type[Event]) -> bool:
        return kind is TaskFailed

    def handle(self, event: Any) -> None:
        logging.getLogger("django.tasks").error("Task failed", exc_info=event.error.exception)


def test_a_failure_that_another_logger_reports_too_is_one_event(kept: Kept, logged_to_sentry: None):
    sentry.install(WORKER)

    with subscribed(LogAgain()):
        run("plain")

    assert [event["logger"] for event in kept.events] == ["django_partisan.worker"]


def test_the_same_exception_in_another_run_is_another_event(kept: Kept, logged_to_sentry: None):
    sentry.install(WORKER)

    run("plain", "plain")

    assert [event["tags"]["partisan.task_id"] for event in kept.events] == ["1", "2"]


def test_a_retry_is_no_event(kept: Kept, logged_to_sentry: None):
    sentry.install(WORKER)

    run("retry")

    assert kept.events == []


def test_an_enqueueing_that_fails_in_a_run_is_an_event_only_if_the_run_fails(
    kept: Kept, logged_to_sentry: None
):
    sentry.install(WORKER)

    run("enqueue and retry", "enqueue and fail")

    [event] = kept.events
    assert event["logentry"]["message"] == "Task %s (%s) failed (%s): %s"
    assert event["exception"]["values"][0]["type"] == "Refused"


def test_the_trace_of_an_event_is_that_of_the_runs_span(kept: Kept):
    subscriber = sentry.SentrySubscriber(sentry_sdk)
    span = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("process default")

    with trace.use_span(span), subscriber.around(Running(samples.RUN, None)):
        sentry_sdk.capture_message("x")

    context = span.get_span_context()
    found = kept.events[0]["contexts"]["trace"]
    assert (found["trace_id"], found["parent_span_id"]) == (
        trace.format_trace_id(context.trace_id),
        trace.format_span_id(context.span_id),
    )


def test_without_a_span_each_run_begins_a_trace(kept: Kept):
    sentry.install(WORKER)

    run("message", "message")

    assert len({event["contexts"]["trace"]["trace_id"] for event in kept.events}) == 2


@pytest.mark.parametrize("is_ours", [True, False], ids=["our handler", "the host's"])
def test_the_event_of_a_managers_line_has_the_tags_of_the_task_that_it_names(kept: Kept, is_ours: bool):
    fields = {"partisan.task.id": "12", "partisan.processor": "Letter"}
    sentry.install(MANAGER)
    handler = EventHandler(logging.ERROR)

    for extra in (fields, {}):
        attributes: dict[str, Any] = {"partisan_fields": extra} if is_ours else extra
        handler.handle(
            logging.makeLogRecord({"name": "x", "levelno": logging.ERROR, "msg": "x", **attributes})
        )
    sentry_sdk.capture_message("no line")

    tags = [event.get("tags") for event in kept.events]
    assert tags == [{"partisan.task_id": "12", "partisan.processor": "Letter"}, None, None]


def test_the_event_of_a_managers_line_has_no_locals_and_no_breadcrumbs_of_other_lines(kept: Kept):
    """Django's frames contain the database password; earlier lines belong to other tasks."""
    sentry.install(MANAGER)
    handler, line = EventHandler(logging.ERROR), {"levelno": logging.ERROR, "msg": "x"}
    sentry_sdk.add_breadcrumb(message="a line about another task")

    with pytest.raises(Refused) as caught:
        connect("hunter2")
    info = (caught.type, caught.value, caught.tb)
    for extra in ({"name": "django_partisan.manager"}, {"name": "host"}):
        handler.handle(logging.makeLogRecord({**line, **extra, "exc_info": info}))

    ours, of_host = kept.events
    assert [frame.get("vars") for frame in frames_of(ours)] == [None, None]
    assert not ours.get("breadcrumbs")
    assert frames_of(of_host)[-1]["vars"] == {"dsn": "'hunter2'"}
    assert len(of_host["breadcrumbs"]["values"]) == 1


def test_a_manager_leaves_failures_to_the_lines_of_its_log(kept: Kept):
    sentry.install(MANAGER)
    info = samples.ERROR._replace(exception=Refused())

    bus.emit(TaskFailed, samples.TASK, None, "worker_lost", info)

    assert kept.events == []


def test_enqueueing_costs_nothing(kept: Kept):
    subscriber = sentry.SentrySubscriber(sentry_sdk)

    before = sentry_sdk.get_isolation_scope()
    with subscriber.around(Enqueueing("default", "Letter")):
        assert sentry_sdk.get_isolation_scope() is before


def test_the_end_of_a_process_leaves_half_of_the_time_to_spans(kept: Kept):
    sentry.install(WORKER)

    bus.subscribers()[-1].close(5.0)

    assert kept.timeouts == [2.5]


def test_a_flush_that_waits_for_a_lock_is_left_after_half_of_the_time(kept: Kept):
    """Sentry's own exit handler may hold the lock while it closes the client."""
    subscriber = sentry.SentrySubscriber(sentry_sdk)
    kept.is_free.clear()

    began = time.monotonic()
    subscriber.close(0.4)
    seconds = time.monotonic() - began
    kept.is_free.set()

    assert 0.2 <= seconds < 0.4


def test_where_the_host_has_not_initialised_sentry_no_run_is_surrounded():
    sentry.install(WORKER)

    assert bus.subscribers() == ()
    assert not bus.each_run_is_surrounded


@pytest.mark.parametrize("found", [None, logging], ids=["not imported", "an older one"])
def test_where_sentry_is_missing_or_old_it_is_neither_imported_nor_used(monkeypatch, found):
    monkeypatch.setitem(sys.modules, sentry.PACKAGE, found)

    sentry.install(WORKER)

    assert bus.subscribers() == ()
