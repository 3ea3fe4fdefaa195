"""The manager interrupts runs over their time limit, and kills workers that do not end such a run."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.engine import late_definitions
from django_partisan.engine.interrupting import CANCEL, TIMEOUT
from django_partisan.engine.late_definitions import PlainDefinition
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.interruptions import (
    LEAST_PAUSE_SECONDS,
    STACKS_SECONDS,
    Interruptions,
)
from django_partisan.engine.manager.time_limits import TimeLimits
from django_partisan.engine.outcome_writing import WriteResult
from django_partisan.engine.pages import condemned
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.engine.protocol import Interrupt, LogStacks, RunTasks
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry.events.runs import TaskCancelled, TaskFailed, TaskRetried
from django_partisan.telemetry.events.workers import RunInterrupted, WorkerExited, WorkerKilled
from tests.support.engine import FakeWorker, IntakeHarness, config_of, report
from tests.support.events import RecordedEvents
from tests.support.rows import task_row

pytestmark = pytest.mark.usefixtures("own_registry")

LIMIT_SECONDS = 5.0
GRACE_SECONDS = 10.0


class Letter(BaseTaskProcessor):
    TIMEOUT_SECONDS = LIMIT_SECONDS

    def run(self) -> None:
        pass


class Memo(BaseTaskProcessor):
    def run(self) -> None:
        pass


class Watch:
    """The interruptions of a manager whose first worker runs task 1 from now on."""

    def __init__(self, engine: IntakeHarness, default: float | None = None) -> None:
        self.engine = engine
        config = config_of(interrupt_grace_seconds=GRACE_SECONDS)
        limits = TimeLimits(default)
        self.interruptions = Interruptions(config, engine.pool, engine.presence, limits)
        self.since = time.monotonic()

    def runs(self, slot: int = 0, task_id: int = 1, processor: str = "Letter", *behind: int) -> FakeWorker:
        worker = self.engine.dispatch_to(slot, *[task_row(one, processor) for one in (task_id, *behind)])
        page = WorkerPage(self.engine.presence.fd, slot)
        page.begin(task_id, self.since)
        self.page = page
        return worker

    def turn(self, seconds: float) -> None:
        """Turn, ``seconds`` after the run began."""
        self.interruptions.turn(self.since + seconds)


@pytest.fixture
def watch(engine: IntakeHarness) -> Watch:
    registry.register(Letter)
    registry.register(Memo)
    return Watch(engine)


def messages_sent(worker: FakeWorker) -> list[Any]:
    """Return the messages that a worker received, other than those to run tasks."""
    return [one for one in worker.end.receive_available() if not isinstance(one, RunTasks)]


def test_a_run_within_its_limit_is_left_alone_and_looked_at_when_it_is_over(watch: Watch):
    worker = watch.runs()

    watch.turn(LIMIT_SECONDS - 0.1)

    assert messages_sent(worker) == []
    assert watch.interruptions.next_at() == pytest.approx(watch.since + LIMIT_SECONDS)


def test_a_run_over_its_limit_is_interrupted_once(watch: Watch, recorded_events: RecordedEvents):
    worker = watch.runs()

    for seconds in (5.0, 5.1, 9.0):
        watch.turn(seconds)

    text = "Letter ran longer than its time limit of 5 s."
    assert messages_sent(worker) == [Interrupt(1, TIMEOUT, text)]
    assert worker.was_rung()
    [event] = recorded_events.of(RunInterrupted)
    assert (event.task.id, event.slot, event.reason, event.comment) == (1, 0, "timeout", text)


def test_a_limit_that_comes_with_code_of_a_worker_counts_for_the_run_under_way(engine: IntakeHarness):
    watch = Watch(engine, default=60.0)
    worker = watch.runs(processor="shop.jobs.send")
    watch.turn(0.1)

    registry.add(PlainDefinition("shop.jobs.send", "default", 10, None, None, None, 2.0, None).definition())
    watch.turn(0.2)
    look_at = watch.interruptions.next_at()
    watch.turn(2.0)

    assert look_at == pytest.approx(watch.since + 2.0)
    [message] = messages_sent(worker)
    assert (message.kind, "time limit of 2 s" in message.comment) == (TIMEOUT, True)


def test_a_worker_whose_run_does_not_end_is_marked_then_killed(watch: Watch, recorded_events: RecordedEvents):
    worker = watch.runs()
    watch.turn(LIMIT_SECONDS)
    [message] = messages_sent(worker)
    over = time.monotonic() - watch.since + GRACE_SECONDS

    watch.turn(over)
    marked = condemned(watch.engine.presence._map, 0)
    stacks = messages_sent(worker)
    watch.turn(over + STACKS_SECONDS / 2)
    before = worker.managed.was_killed
    watch.turn(over + STACKS_SECONDS)
    watch.turn(over + 2 * STACKS_SECONDS)

    assert (marked, stacks, before) == (1, [LogStacks()], False)
    assert worker.managed.was_killed
    assert worker.managed.killed_for == message
    [event] = recorded_events.of(WorkerKilled)
    assert (event.task.id, event.slot, event.reason) == (1, 0, "timeout")


@pytest.mark.parametrize("ends", [lambda page: page.idle(0.0), lambda page: page.begin(2, 0.0)])
def test_a_worker_that_ends_the_run_after_it_was_marked_lives_on(
    watch: Watch, ends: Callable[[WorkerPage], Any]
):
    worker = watch.runs()
    watch.turn(LIMIT_SECONDS)
    over = time.monotonic() - watch.since + GRACE_SECONDS
    watch.turn(over)

    ends(watch.page)
    watch.turn(over + STACKS_SECONDS)

    assert condemned(watch.engine.presence._map, 0) == 0
    assert not worker.managed.was_killed


def test_the_mark_of_a_run_that_has_ended_goes_where_the_next_is_interrupted_at_once(watch: Watch):
    worker = watch.runs(0, 1, "Letter", 2)
    watch.turn(LIMIT_SECONDS)
    watch.turn(time.monotonic() - watch.since + GRACE_SECONDS)

    watch.page.begin(2, time.monotonic())
    assert watch.interruptions.request(2, CANCEL)

    assert condemned(watch.engine.presence._map, 0) == 0
    assert [one.run_number for one in messages_sent(worker) if isinstance(one, Interrupt)] == [1, 2]


def test_a_run_that_ends_in_time_is_forgotten(watch: Watch):
    worker = watch.runs()
    watch.turn(LIMIT_SECONDS)
    worker.managed.remove_tasks([1])
    watch.page.idle(0.0)

    watch.turn(2 * LIMIT_SECONDS)

    assert watch.interruptions.next_at() == NEVER


def test_what_begins_behind_a_task_is_looked_at_before_it_can_be_over_its_limit(watch: Watch):
    watch.runs(0, 1, "Memo", 2, 3)
    watch.runs(1, 9, "Memo")

    watch.turn(1.0)

    assert watch.interruptions.next_at() == pytest.approx(watch.since + 1.0 + LIMIT_SECONDS)


def test_a_task_that_was_sent_and_has_not_begun_is_looked_at_in_time(watch: Watch):
    watch.engine.dispatch_to(0, task_row(1))

    watch.turn(0.0)

    assert watch.interruptions.next_at() == pytest.approx(watch.since + LIMIT_SECONDS)


def test_nothing_is_looked_at_while_nobody_runs_anything_or_nothing_has_a_limit(engine: IntakeHarness):
    registry.register(Memo)
    watch = Watch(engine)
    watch.runs(0, 1, "Memo")
    watch.turn(100.0)
    unlimited = watch.interruptions.next_at()
    registry.register(Letter)
    watch.engine.workers[0].managed.remove_tasks([1])
    watch.turn(100.0)

    assert unlimited == watch.interruptions.next_at() == NEVER


@pytest.mark.parametrize("processor", ["Memo", "Slow"])
def test_a_run_is_looked_at_in_time_that_begins_on_an_idle_worker_beside_a_longer_one(
    watch: Watch, processor: str
):
    registry.register(type("Slow", (Letter,), {"TIMEOUT_SECONDS": 3600.0}))
    watch.runs(0, 1, processor)
    watch.turn(0.1)
    watch.since += 0.2
    worker = watch.runs(1, 2)

    watch.turn(0.1)
    assert watch.interruptions.next_at() <= watch.since + LIMIT_SECONDS
    watch.turn(LIMIT_SECONDS)

    assert [one.kind for one in messages_sent(worker)] == [TIMEOUT]


def test_a_run_is_looked_at_in_time_that_follows_a_longer_one_on_its_worker(watch: Watch):
    registry.register(type("Slow", (Letter,), {"TIMEOUT_SECONDS": 3600.0}))
    worker = watch.runs(0, 1, "Slow")
    watch.turn(0.1)
    worker.managed.remove_tasks([1])
    watch.since += 0.2
    watch.runs(0, 2)

    watch.turn(LIMIT_SECONDS)

    assert [one.kind for one in messages_sent(worker)] == [TIMEOUT]


def test_between_two_looks_some_time_passes_however_short_a_limit_is(watch: Watch):
    registry.register(type("Brief", (Letter,), {"TIMEOUT_SECONDS": 0.001}))
    watch.runs(0, 1, "Memo")
    watch.turn(1.0)

    assert watch.interruptions.next_at() == pytest.approx(watch.since + 1.0 + LEAST_PAUSE_SECONDS)


def test_a_worker_that_has_retired_is_not_asked_for_the_page_is_its_successors(watch: Watch):
    worker = watch.runs()
    worker.managed.retire()

    watch.turn(LIMIT_SECONDS)

    assert messages_sent(worker) == []
    assert not watch.interruptions.request(1, CANCEL)


def test_the_run_of_a_task_is_cancelled_on_request(watch: Watch, recorded_events: RecordedEvents):
    worker = watch.runs(0, 1, "Memo", 2)

    answers = [watch.interruptions.request(task_id, CANCEL, "why not") for task_id in (1, 1, 2, 3)]

    assert answers == [True, True, False, False]
    assert messages_sent(worker) == [Interrupt(1, CANCEL, "why not")]
    assert [event.reason for event in recorded_events.of(RunInterrupted)] == ["cancelled"]


def test_a_cancel_replaces_a_time_out_and_gives_it_no_further_time(watch: Watch):
    worker = watch.runs()
    watch.turn(LIMIT_SECONDS)
    [run] = watch.interruptions._runs.values()
    kill_at = run.kill_at

    watch.interruptions.request(1, CANCEL)
    watch.interruptions.request(1, TIMEOUT)

    assert [one.kind for one in messages_sent(worker)] == [TIMEOUT, CANCEL]
    [run] = watch.interruptions._runs.values()
    assert run.kill_at == kill_at


def test_a_condemned_run_is_not_asked_again(watch: Watch):
    worker = watch.runs()
    watch.turn(LIMIT_SECONDS)
    watch.turn(time.monotonic() - watch.since + GRACE_SECONDS)
    messages_sent(worker)

    assert watch.interruptions.request(1, CANCEL)
    assert messages_sent(worker) == []


def killed(watch: Watch, kind: str, processor: str = "Letter") -> FakeWorker:
    """Let a worker be killed because it did not end its run."""
    worker = watch.runs(0, 1, processor, 2)
    watch.interruptions.request(1, kind, "because")
    over = time.monotonic() - watch.since + GRACE_SECONDS
    watch.turn(over)
    watch.turn(over + STACKS_SECONDS)
    worker.exits(-9)
    watch.engine.turn()
    return worker


@pytest.mark.parametrize(
    ("kind", "reason", "event"), [(TIMEOUT, "timeout", TaskFailed), (CANCEL, "cancelled", TaskCancelled)]
)
@pytest.mark.parametrize("processor", ["Letter", "Unknown"])
def test_the_task_of_a_killed_run_fails_and_the_others_go_back(
    watch: Watch, recorded_events: RecordedEvents, kind: str, reason: str, event: Any, processor: str
):
    killed(watch, kind, processor)

    batch = watch.engine.outcomes.written()
    [(row, change)] = batch.changes
    assert (row[0], change.status, change.reason, change.crashes, change.attempts) == (
        1,
        "error",
        reason,
        0,
        1,
    )
    assert recorded_events.of(event) == []
    watch.engine.outcomes.answer()
    [emitted] = recorded_events.of(event)
    assert (emitted.run.id, emitted.lost.slot, emitted.seconds >= 0) == (1, 0, True)
    assert watch.engine.buffered() == [2]
    [exited] = recorded_events.of(WorkerExited)
    assert exited.reason == reason
    assert watch.engine.outcomes.settler.failed == (kind == TIMEOUT)


def test_the_task_of_a_killed_run_is_retried_where_the_list_covers_a_time_out(
    watch: Watch, recorded_events: RecordedEvents
):
    retry = ErrorsHandleConfig([TimeoutError], 3, 7)
    registry.register(type("Retried", (Letter,), {"RETRY_ON_ERROR_CONFIG": retry}))

    killed(watch, TIMEOUT, "Retried")

    [(_, change)] = watch.engine.outcomes.write().changes
    assert (change.status, change.delay, change.retries) == ("new", 7.0, 1)
    [event] = recorded_events.of(TaskRetried)
    assert (event.run.id, event.delay_seconds, event.retries_left) == (1, 7.0, 2)


def test_a_run_that_has_committed_its_completion_before_it_was_killed_has_not_failed(
    watch: Watch, recorded_events: RecordedEvents
):
    killed(watch, TIMEOUT)

    watch.engine.outcomes.write(changed=WriteResult([1], [], [], []))

    assert recorded_events.of(TaskFailed) == []
    assert watch.engine.outcomes.settler.failed == 0


def test_a_task_that_begins_while_its_worker_is_killed_for_another_goes_back(
    watch: Watch, recorded_events: RecordedEvents
):
    worker = watch.runs(0, 1, "Letter", 2)
    watch.turn(LIMIT_SECONDS)
    over = time.monotonic() - watch.since + GRACE_SECONDS
    watch.turn(over)
    watch.turn(over + STACKS_SECONDS)
    worker.sends(report([1]))
    watch.page.begin(2, time.monotonic())
    worker.exits(-9)
    watch.engine.turn()

    batch = watch.engine.outcomes.written()
    assert ([row[0] for row in batch.completed], batch.changes, batch.crashed) == ([1], [], ())
    assert watch.engine.buffered() == [2]
    [exited] = recorded_events.of(WorkerExited)
    assert (exited.task, exited.reason) == (None, "timeout")


def test_an_outcome_that_is_on_its_way_wins(watch: Watch, recorded_events: RecordedEvents):
    worker = watch.runs()
    watch.interruptions.request(1, TIMEOUT)
    over = time.monotonic() - watch.since + GRACE_SECONDS
    watch.turn(over)
    watch.turn(over + STACKS_SECONDS)
    worker.sends(report([1]))
    worker.exits(-9)
    watch.engine.turn()

    batch = watch.engine.outcomes.written()
    assert ([row[0] for row in batch.completed], batch.changes) == ([1], [])


def limits(default: float | None, **timeouts: float | None) -> TimeLimits:
    made = TaskDefinition.of_processor(Memo)
    definitions = {name: replace(made, name=name, timeout=timeout) for name, timeout in timeouts.items()}
    return TimeLimits(default, definitions)


def test_a_processor_has_its_own_limit_or_that_of_the_queue():
    made = limits(30.0, Own=5.0, Free=math.inf, Default=None)

    assert [made.of(name) for name in ("Own", "Free", "Default", "Unknown")] == [5.0, math.inf, 30.0, 30.0]
    assert made.shortest == 5.0
    assert limits(None, Free=math.inf).shortest == limits(None).shortest == math.inf
    assert limits(2.0).shortest == 2.0


def test_a_limit_that_newer_code_of_a_worker_lowers_is_the_shortest_at_once():
    described = PlainDefinition("shop.jobs.send", "default", 10, None, None, None, 60.0, None)
    late_definitions.register(described)
    made = TimeLimits(30.0)
    before = made.shortest

    late_definitions.register(described._replace(timeout=5.0))

    assert (before, made.shortest) == (30.0, 5.0)


def test_a_page_keeps_its_mark_apart_and_a_new_worker_finds_none(presence: PresenceFile):
    page = WorkerPage(presence.fd, 0)
    page.begin(7, 1.0)
    presence.condemn(0, 1)
    marked, shown = page.is_condemned(), presence.page(0)

    presence.clear(0)

    assert (marked, shown.task_id, shown.begun) == (True, 7, 1)
    assert not page.is_condemned()
    page.leave_slot()
