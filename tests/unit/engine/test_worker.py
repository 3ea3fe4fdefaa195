"""A worker, turn by turn: it runs the tasks it receives and reports their outcomes."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_partisan import __version__, registry
from django_partisan.engine import boot_clock, protocol
from django_partisan.engine.late_definitions import PlainDefinition
from django_partisan.engine.pipe import ManagerEnd, PipeError
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import (
    Flushed,
    Interrupt,
    Ready,
    Registered,
    Report,
    Retiring,
    Returned,
    RunTasks,
    Stop,
)
from django_partisan.engine.worker.worker import Worker
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import ID
from django_partisan.telemetry import reporting
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events.telemetry import TelemetryFlushTimedOut
from tests.support.engine import config_of, spec_of
from tests.support.events import RecordedEvents, subscribed
from tests.support.rows import task_row
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.usefixtures("own_registry", "no_subscribers")


class Memo(BaseTaskProcessor):
    def run(self) -> None:
        pass


class Side:
    """A worker without its own process, and its manager's end."""

    def __init__(self, presence: PresenceFile) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.bell, self.ring = os.pipe()
        self.presence = presence
        self.manager = ManagerEnd(self.ours.fileno())

    def worker(self, limit: int | None = None, **more: Any) -> Worker:
        spec = spec_of(0, 4)._replace(config=config_of(tasks_per_worker_instance=limit), **more)
        return Worker(self.theirs.fileno(), self.bell, self.presence.fd, spec, ["a warning"])

    def dispatch(self, *ids: int) -> None:
        self.manager.send(RunTasks([task_row(task_id, "Memo") for task_id in ids], {}, self.presence.epoch))

    def close(self) -> None:
        os.close(self.ring)
        wait_until(lambda: all(thread.name != "partisan-control" for thread in threading.enumerate()))
        for end in (self.ours, self.theirs):
            end.close()
        os.close(self.bell)


@pytest.fixture
def side(presence: PresenceFile) -> Iterator[Side]:
    registry.register(Memo)
    made = Side(presence)
    yield made
    made.close()


def completed(message: Any) -> list[int]:
    """Return the completed tasks in a report; their rows are kept by default."""
    return [task_id for task_id, *_ in message.kept]


def turns(worker: Worker, number: int) -> None:
    for _ in range(number):
        assert worker._turn()


def in_a_thread(worker: Worker) -> Callable[[], None]:
    """Run a worker in a thread; return a function that waits for its end."""
    thread = threading.Thread(target=worker.run)
    thread.start()

    def end() -> None:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()

    return end


def test_from_start_to_end_it_is_ready_reports_retires_and_flushes(side):
    side.dispatch(1)

    in_a_thread(side.worker(limit=1))()

    ready, report, retiring, flushed = side.manager.receive()
    assert ready == Ready(protocol.VERSION, ["a warning"], __version__)
    assert isinstance(report, Report)
    assert [task_id for task_id, *_ in report.kept] == [1]
    assert retiring == Retiring()
    assert isinstance(flushed, Flushed)
    assert flushed.peak_bytes > 1_000_000


class Slow(BaseTaskProcessor):
    """Run until the test ends it."""

    begun = threading.Event()
    ended = threading.Event()

    def run(self) -> None:
        self.begun.set()
        assert self.ended.wait(PATIENCE_SECONDS)


class News(Subscriber):
    """A subscriber with one value to report."""

    name = "news"
    held: str | None = None

    def take(self) -> str | None:
        taken, self.held = self.held, None
        return taken


def test_news_of_a_subscriber_are_reported_while_a_task_runs(side):
    registry.register(Slow)
    news = News()
    side.manager.send(RunTasks([task_row(7, "Slow")], {}, side.presence.epoch))
    with subscribed(news):
        end = in_a_thread(side.worker(limit=1))
        assert Slow.begun.wait(PATIENCE_SECONDS)
        news.held = "a batch was exported"
        reporting.report_now()
        reporting.report_now()  # nothing new to report
        _, report = side.manager.receive()
        Slow.ended.set()
        end()

    assert (report.kept, report.telemetry) == ([], [("news", "a batch was exported")])
    news.held = "after the end"
    reporting.report_now()
    assert news.held == "after the end"


def test_news_for_a_manager_that_has_died_raise_nothing(side):
    worker, news = side.worker(), News()
    news.held = "too late"
    side.ours.shutdown(socket.SHUT_RDWR)

    with subscribed(news):
        worker._report_now()

    assert news.held is None


def test_its_page_shows_how_many_tasks_it_has_started_and_for_how_long_it_was_busy(side):
    worker = side.worker()
    side.dispatch(7, 9)
    turns(worker, 2)
    running = side.presence.page(0)
    turns(worker, 2)
    idle = side.presence.page(0)

    assert (running.begun, running.task_id) == (1, 7)
    assert (idle.begun, idle.task_id) == (2, 0)
    assert idle.busy_seconds > running.busy_seconds == 0


def test_past_the_end_of_the_lease_it_starts_nothing_until_the_lease_is_extended(side):
    worker = side.worker()
    side.dispatch(1, 2)
    turns(worker, 2)
    side.presence.extend_lease(boot_clock.now())
    worker._lease_until = 0.0
    turns(worker, 3)
    waiting = side.presence.page(0)
    side.presence.extend_lease(boot_clock.now() + 60)
    turns(worker, 2)

    assert (waiting.begun, waiting.task_id) == (1, 0)
    assert side.presence.page(0).begun == 2
    assert [completed(message) for message in side.manager.receive()] == [[1], [2]]


def test_what_was_sent_before_the_lease_was_lost_is_returned_and_not_started(side):
    worker = side.worker()
    side.dispatch(1, 2)
    turns(worker, 2)
    worker._lease_until = 0.0
    side.presence.begin_epoch()
    side.presence.extend_lease(boot_clock.now() + 60)
    turns(worker, 1)
    side.dispatch(3)
    turns(worker, 2)

    assert side.presence.page(0).begun == 2
    messages = side.manager.receive()
    assert [message.task_ids for message in messages if isinstance(message, Returned)] == [[2]]
    assert side.presence.page(0).task_id == 3


def test_past_the_end_of_the_lease_it_still_returns_its_tasks_at_a_stop(side):
    worker = side.worker()
    side.presence.extend_lease(boot_clock.now())
    side.dispatch(1, 2)
    turns(worker, 2)
    side.manager.send(Stop())
    turns(worker, 1)

    assert not worker._turn()
    assert side.manager.receive() == [Returned([1, 2])]


def test_after_a_stop_it_returns_what_has_not_started_and_ends(side):
    worker = side.worker()
    side.dispatch(1, 2)
    side.manager.send(Stop())

    turns(worker, 1)

    assert not worker._turn()
    assert side.manager.receive() == [Returned([1, 2])]


def test_a_recall_brings_the_report_before_the_tasks(side):
    worker = side.worker()
    side.dispatch(1)
    turns(worker, 2)

    worker._return_tasks([2])

    assert [type(message) for message in side.manager.receive()] == [Report, Returned]


def test_a_flush_that_takes_its_whole_time_is_emitted(side):
    side.manager.send(Stop())

    with subscribed(RecordedEvents()) as recorded:
        in_a_thread(side.worker(flush_seconds=0.0))()

    [late] = recorded.of(TelemetryFlushTimedOut)
    assert late.queue == "default"


def test_a_worker_whose_run_was_condemned_begins_no_other_until_the_mark_is_removed(side):
    worker = side.worker()
    side.dispatch(1, 2)
    turns(worker, 2)
    worker._executor.started -= 1.0  # as if the run had lasted longer than the shortest grace
    side.presence.condemn(0, 1)

    turns(worker, 3)
    waiting = side.presence.page(0)
    side.presence.condemn(0, 0)
    turns(worker, 2)

    assert waiting.task_id == 0
    reports = [message for message in side.manager.receive() if isinstance(message, Report)]
    assert list(map(completed, reports)) == [[1], [2]]


def test_a_worker_that_was_stopped_while_its_manager_died_begins_nothing_more(side):
    worker = side.worker()
    side.dispatch(1, 2)
    turns(worker, 2)
    worker._executor.started -= 1.0  # as if the process had been stopped for a while
    side.ours.close()

    with pytest.raises(PipeError):
        turns(worker, 3)

    assert side.presence.page(0).task_id == 0
    assert [row[ID] for row in worker._tasks.take_unstarted()] == [2]


def test_the_connections_of_an_interrupted_run_are_discarded(side):
    closed: list[str] = []

    class Raw:
        def close(self) -> None:
            closed.append("raw")

    class Connection:
        connection: Any = Raw()

        def __init__(self) -> None:
            self.queries_log: list[Any] = []

        def _close(self) -> None:
            closed.append("django")

    worker = side.worker()
    side.dispatch(1)
    turns(worker, 1)
    worker._connections.opened.append(Connection())
    worker._interruption.requested = Interrupt(1, "timeout", "")

    turns(worker, 1)
    worker._connections.discard()

    assert closed == ["raw", "django"]
    assert worker._interruption.requested is None
    worker._connections.opened.clear()


def test_what_was_asked_for_another_run_discards_nothing(side):
    worker = side.worker()
    side.dispatch(1)
    worker._interruption.requested = Interrupt(7, "timeout", "")

    turns(worker, 2)

    assert worker._interruption.requested is None


class Importing(BaseTaskProcessor):
    """Register a processor, as an import inside a task may do."""

    def run(self) -> None:
        registry.register(Slow)


def test_what_a_task_has_registered_is_told_before_the_next_task_runs(side):
    registry.register(Importing)
    side.manager.send(RunTasks([task_row(1, "Importing"), task_row(2, "Memo")], {}, side.presence.epoch))

    in_a_thread(side.worker(limit=2, registered=frozenset({"Importing"})))()

    messages = side.manager.receive()
    told = [[values[0] for values in one.definitions] for one in messages if isinstance(one, Registered)]
    assert told == [["Memo"], ["Slow"]]


class Reloading(BaseTaskProcessor):
    """Register another ``Memo``, as a reload of its module may do."""

    def run(self) -> None:
        registry.register(type("Memo", (Memo,), {"TIMEOUT_SECONDS": 7.5, "__module__": Memo.__module__}))


def test_the_options_of_a_definition_that_was_replaced_are_told_before_the_next_task_runs(side):
    registry.register(Reloading)
    rows = [task_row(1, "Memo"), task_row(2, "Reloading"), task_row(3, "Memo")]
    side.manager.send(RunTasks(rows, {}, side.presence.epoch))

    in_a_thread(side.worker(limit=3, registered=frozenset({"Reloading"})))()

    messages = side.manager.receive()
    told = [
        PlainDefinition(*one) for each in messages if isinstance(each, Registered) for one in each.definitions
    ]
    assert [(one.name, one.timeout) for one in told] == [("Memo", None), ("Memo", 7.5)]


def test_a_worker_without_its_managers_definitions_sends_no_definitions(side):
    side.dispatch(1)

    in_a_thread(side.worker(limit=1))()

    assert not any(isinstance(one, Registered) for one in side.manager.receive())
