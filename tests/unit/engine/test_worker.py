"""A worker, turn by turn: it runs what it is handed and reports what came of it."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.backends.signals import connection_created

from django_partisan import registry
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.engine.presence import PAGE_BYTES, WorkerPage
from django_partisan.engine.worker import worker as workers
from django_partisan.engine.worker.worker import Worker
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.exceptions import ClaimLost, PostponeTask
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import RunsCompleted, TelemetryFlushTimedOut, TransactionLeftOpen
from tests.support.engine import config_of
from tests.support.rows import task_row as task
from tests.support.waiting import wait_until

subscribed: list[tuple[Any, ...]] = []


def subscribe(spec: WorkerSpec, word: str) -> None:
    """Be what the manager names to its workers."""
    subscribed.append((spec.slot, word))


class Letter(BaseTaskProcessor):
    def run(self) -> None:
        raise {"postpone": PostponeTask(1), "lose": ClaimLost()}[self.args[0]] if self.args else _Well


class _Well(Exception):
    pass


class Memo(BaseTaskProcessor):
    def run(self) -> None:
        pass


class Side:
    """A worker without a process of its own, and its manager's end."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.bell, self.ring = os.pipe()
        self.page = os.open(folder / "presence", os.O_RDWR | os.O_CREAT)
        os.write(self.page, bytes(PAGE_BYTES))
        self.manager = ManagerEnd(self.ours.fileno())
        self.database: dict[str, str] = {}

    def worker(self, limit: int | None = None, **spec: Any) -> Worker:
        config = config_of(tasks_per_worker_instance=limit)
        made = WorkerSpec(config, "any", 0, 4, 4711, None, 5.0)._replace(**spec)
        return Worker(self.theirs.fileno(), self.bell, self.page, made, ["a warning"])

    def hand_over(self, *rows: TaskRow) -> None:
        self.manager.send(("tasks", rows and list(rows), {}))

    def messages(self, kind: str | None = None) -> list[Any]:
        """Return what the worker sent since last asked."""
        found = self.manager.receive()
        return [message for message in found if kind in (None, message[0])]

    def close(self) -> None:
        os.close(self.ring)
        recalling = "partisan-recalls"
        wait_until(lambda: all(thread.name != recalling for thread in threading.enumerate()))
        for end in (self.ours, self.theirs):
            end.close()
        for fd in (self.bell, self.page):
            os.close(fd)


@pytest.fixture
def side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
    monkeypatch.setattr(registry, "_classes", {"Letter": Letter, "Memo": Memo})
    # In a thread of its own it finds connections of its own.
    made = Side(tmp_path)
    connection = SimpleNamespace(settings_dict=made.database)
    monkeypatch.setattr(workers, "task_database", lambda: "any")
    monkeypatch.setattr(workers, "connections", {"any": connection})
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.01)
    yield made
    connection_created.disconnect(dispatch_uid="django_partisan.hygiene")
    made.close()


def turns(worker: Worker, number: int) -> None:
    for _ in range(number):
        assert worker._turn()


def test_it_uses_the_database_that_its_manager_names(side):
    side.worker(database="test_of_the_manager")

    assert side.database == {"NAME": "test_of_the_manager"}


def test_it_reports_each_kind_of_outcome_with_the_pace_of_each_processor(side):
    worker = side.worker()
    side.hand_over(
        task(1, "Memo"),
        task(2, "Memo"),
        task(3, arguments='{"args":["postpone"],"kwargs":{}}', token=8),
        task(4, arguments='{"args":["lose"],"kwargs":{}}'),
    )
    turns(worker, 6)

    reports = side.messages("report")
    completed = [task_id for report in reports for task_id in report[2]]
    others = [values for report in reports for values in report[3]]
    ended = [pair for report in reports for pair in report[4]]
    measured = [(name, runs) for report in reports for name, (runs, _) in report[5].items()]
    assert completed == [1, 2]
    assert [values[:4] for values in others] == [(3, 8, "new", 1.0)]
    assert ended == [(4, "claim_lost")]
    assert sum(runs for name, runs in measured if name == "Memo") == 2
    assert sum(runs for name, runs in measured if name == "Letter") == 2
    assert [report[1] for report in reports] == list(range(1, len(reports) + 1))


def test_short_runs_are_reported_together_and_not_before_some_time_has_passed(side, monkeypatch):
    monkeypatch.setattr(workers, "REPORT_EVERY_SECONDS", 3600.0)
    worker = side.worker()
    turns(worker, 1)  # nothing to run: reports nothing, and begins to count the time
    side.hand_over(*(task(number, "Memo") for number in (1, 2, 3)))
    turns(worker, 4)
    before = side.messages()
    turns(worker, 1)

    assert before == []
    assert [report[2] for report in side.messages("report")] == [[1, 2, 3]]


def test_a_run_that_took_long_is_reported_at_once(side, monkeypatch):
    monkeypatch.setattr(workers, "REPORT_EVERY_SECONDS", -1.0)
    worker = side.worker()
    side.hand_over(task(1, "Memo"), task(2, "Memo"))
    turns(worker, 2)

    assert [report[2] for report in side.messages("report")] == [[1]]


def test_a_report_has_an_upper_size(side, monkeypatch):
    monkeypatch.setattr(workers, "REPORT_EVERY_SECONDS", 3600.0)
    monkeypatch.setattr(workers, "REPORT_AT_MOST", 2)
    worker = side.worker()
    turns(worker, 1)
    side.hand_over(*(task(number, "Memo") for number in (1, 2, 3)))
    turns(worker, 4)

    assert [report[2] for report in side.messages("report")] == [[1, 2]]


def test_its_page_shows_what_it_runs_and_for_how_long_it_was_busy(side, monkeypatch):
    shown: list[tuple[int, int]] = []

    def note(page: WorkerPage, task_id: int, since: float) -> None:
        shown.append((page.begun, task_id))
        page.begun += 1

    monkeypatch.setattr(WorkerPage, "begin", note)
    monkeypatch.setattr(WorkerPage, "idle", lambda page, since: shown.append((page.begun, 0)))
    worker = side.worker()
    side.hand_over(task(7, "Memo"), task(9, "Memo"))
    turns(worker, 4)

    assert shown == [(0, 0), (0, 7), (1, 9), (2, 0)]
    assert worker._page.busy_seconds > 0


class Counting(Subscriber):
    """Count, and say so with the next message up."""

    name = "counting"

    def __init__(self) -> None:
        self.runs: list[RunsCompleted] = []
        self.left_open: list[TransactionLeftOpen] = []
        self.flushes: list[Any] = []
        self.taken: list[str] = []

    def handle(self, event: Any) -> None:
        kept: dict[type[Any], list[Any]] = {
            RunsCompleted: self.runs,
            TransactionLeftOpen: self.left_open,
            TelemetryFlushTimedOut: self.flushes,
        }
        kept.get(type(event), []).append(event)

    def take(self) -> str | None:
        return self.taken.pop() if self.taken else None


@pytest.fixture
def counting() -> Iterator[Counting]:
    made = Counting()
    bus.subscribe(made)
    yield made
    bus.unsubscribe(made)


def test_completed_runs_are_told_once_a_report_and_processor_with_all_their_figures(
    side, counting, monkeypatch
):
    monkeypatch.setattr(workers, "REPORT_EVERY_SECONDS", 3600.0)
    worker = side.worker()
    turns(worker, 1)
    side.hand_over(
        task(1, "Memo", wait=0.5),
        task(2, "Memo", attempts=3),
        task(3, arguments='{"args":["postpone"],"kwargs":{}}'),
    )
    turns(worker, 5)

    [runs] = counting.runs
    assert (runs.queue, runs.processor, runs.attempts) == ("default", "Memo", [1, 4])
    assert runs.waits_seconds == [0.5, 0.0]
    assert len(runs.seconds) == 2


@pytest.mark.usefixtures("nobody_listens")
def test_where_nobody_counts_no_figures_are_kept(side):
    worker = side.worker()
    side.hand_over(task(1, "Memo"))
    turns(worker, 3)

    assert worker._counted is None


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bus, "_subscribers", [])
    bus.refresh()
    yield
    monkeypatch.undo()
    bus.refresh()


def test_what_was_counted_goes_up_though_no_run_ended(side, counting):
    worker = side.worker()
    counting.taken.append("a figure")
    turns(worker, 1)

    assert side.messages("report") == [("report", 1, [], [], [], {}, [("counting", "a figure")])]


def test_a_transaction_that_a_run_left_open_is_told_with_the_run(side, counting, monkeypatch):
    worker = side.worker()
    monkeypatch.setattr(worker._hygiene, "opened", ["a connection"])
    monkeypatch.setattr(worker._hygiene, "after_run", lambda: ["default"])
    monkeypatch.setattr(worker._hygiene, "before_chunk", lambda: None)
    side.hand_over(task(7, "Memo"))
    turns(worker, 2)

    assert [(event.run.id, event.database) for event in counting.left_open] == [(7, "default")]


def test_connections_are_looked_after_before_each_chunk(side, monkeypatch):
    worker = side.worker()
    looked: list[bool] = []
    monkeypatch.setattr(worker._hygiene, "before_chunk", lambda: looked.append(True))
    turns(worker, 1)
    side.hand_over(task(1, "Memo"), task(2, "Memo"))
    turns(worker, 3)

    assert looked == [True]


def test_after_as_many_tasks_as_it_may_run_it_ends(side):
    worker = side.worker(limit=2)
    side.hand_over(task(1, "Memo"), task(2, "Memo"))
    turns(worker, 3)

    assert not worker._turn()


def test_told_to_stop_it_gives_back_what_has_not_begun_and_ends(side):
    worker = side.worker()
    side.hand_over(task(1, "Memo"), task(2, "Memo"))
    side.manager.send(("stop",))
    turns(worker, 1)

    assert not worker._turn()
    assert side.messages("returned") == [("returned", [1, 2])]


def in_a_thread(worker: Worker) -> Callable[[], None]:
    """Run a worker; return what waits for its end."""
    thread = threading.Thread(target=worker.run)
    thread.start()

    def end() -> None:
        thread.join(20)
        assert not thread.is_alive()

    return end


@pytest.fixture
def telemetry_stays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Do not close those who watch this process; note how long they would have had."""
    closed: list[float] = []
    monkeypatch.setattr(bus, "close", closed.append)
    return closed


def test_from_start_to_end_it_says_ready_reports_retires_and_flushes(side, telemetry_stays):
    worker = side.worker(limit=1, subscribe=(f"{__name__}.subscribe", {"word": "hello"}))
    subscribed.clear()
    side.hand_over(task(1, "Memo"))
    in_a_thread(worker)()

    said = side.messages()
    assert [message[0] for message in said] == ["ready", "report", "retiring", "flushed"]
    assert said[0] == ("ready", os.getpid(), ["a warning"])
    assert said[3][2] > 1_000_000
    assert subscribed == [(0, "hello")]
    assert telemetry_stays == [5.0]


def test_a_flush_that_takes_its_whole_time_is_told(side, telemetry_stays, counting):
    side.manager.send(("stop",))
    in_a_thread(side.worker(flush_seconds=0.0))()

    [late] = counting.flushes
    assert late[:3] == ("default", 0, 4)


def test_a_manager_that_is_gone_before_anything_ran_gets_all_given_back(side, telemetry_stays, monkeypatch):
    settled: list[Any] = []
    monkeypatch.setattr(workers, "settle_as_orphan", lambda config, *values: settled.append(values))
    worker = side.worker()
    side.hand_over(task(1, "Memo"), task(2, "Memo"))
    turns(worker, 1)
    side.ours.close()
    in_a_thread(worker)()

    assert settled == [([], [], [task(1, "Memo"), task(2, "Memo")])]
    assert telemetry_stays == [5.0]


def test_runs_that_could_not_be_reported_are_settled_by_an_orphan(side, telemetry_stays, monkeypatch):
    settled: list[Any] = []
    monkeypatch.setattr(workers, "settle_as_orphan", lambda config, *values: settled.append(values))
    monkeypatch.setattr(workers, "REPORT_EVERY_SECONDS", -1.0)
    worker = side.worker()

    class Last(BaseTaskProcessor):
        def run(self) -> None:
            side.ours.shutdown(socket.SHUT_RDWR)

    registry.register(Last)
    side.hand_over(task(1, "Last", token=8), task(2, "Memo"))
    in_a_thread(worker)()

    assert settled == [([(1, 8)], [], [task(2, "Memo")])]


def test_a_recall_that_finds_no_manager_is_left_to_the_main_thread(side):
    worker = side.worker()
    side.ours.close()

    worker._give_back([1])


def test_a_recall_brings_the_report_before_the_tasks(side):
    worker = side.worker()
    side.hand_over(task(1, "Memo"))
    turns(worker, 2)
    worker._give_back([2])

    assert [message[0] for message in side.messages()][-2:] == ["report", "returned"]
