"""Interruptions at the very end of runs hit no other run, and every task ends once."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from django_partisan.engine.interrupting import CANCEL
from django_partisan.engine.manager.component import Component
from django_partisan.engine.manager.manager import Manager
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from django_partisan.telemetry.events.workers import RunInterrupted, WorkerExited, WorkerKilled
from tests.app import interrupted_tasks as processors
from tests.app import journal
from tests.app.counting import OutcomeCounts, subscribe
from tests.support.database import empty
from tests.support.engine import config_of
from tests.support.events import RecordedEvents, subscribed
from tests.support.progress import descendants, progress_of
from tests.support.waiting import PATIENCE_SECONDS, wait_until

from .managing import TABLES

RUNS = 2000
"""Tasks per round."""
ROUNDS_AT_MOST = 10
ENOUGH = RUNS // 50
"""How often each outcome must occur; it takes more rounds where signals arrive late."""
LONGEST_SECONDS = 0.02
ENDS = ("finished", "timeout", "cancelled")


class CancelsAtTheEnd(Component):
    """Cancel a third of the tasks a moment before or after their runs end."""

    def __init__(self, manager: Manager, seconds: dict[int, float]) -> None:
        self._parts = manager._parts
        self._presence = manager._presence
        self._seconds = seconds
        self.cancelled: set[int] = set()

    def turn(self, now: float) -> None:
        self._next_at = now + 0.0005
        for worker in self._parts.pool.workers:
            page = self._presence.page(worker.slot)
            is_wanted = page.task_id % 3 == 0 and page.task_id not in self.cancelled
            is_ending = now > page.since + self._seconds.get(page.task_id, 1.0) - 0.001 * (page.task_id % 4)
            if is_wanted and is_ending and self._cancel(page.task_id):
                self.cancelled.add(page.task_id)

    def _cancel(self, task_id: int) -> bool:
        return self._parts.interruptions.request(task_id, CANCEL, "not wanted")


def children() -> list[int]:
    """Return the descendants of this process, which runs the manager's loop."""
    return [pid for pid in descendants(os.getpid()) if pid != os.getpid()]


def turn_for(manager: Manager, seconds: float) -> Manager:
    """Run the loop without a pause."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        manager.turn(0.05)
    return manager


@pytest.fixture
def manager(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Return a manager in this process, with real workers, whose loop the test runs."""
    monkeypatch.setenv(journal.FOLDER, str(tmp_path))
    empty(*TABLES)
    config = config_of(
        workers_count=4,
        max_queue_size=100,
        min_queue_size=50,
        interrupt_grace_seconds=5,
        sleep_delay_seconds=1,
    )
    name = connection.settings_dict["NAME"]
    spec = WorkerSpec(config, name, 0, (f"{subscribe.__module__}.{subscribe.__name__}", {}), 5.0)
    made = Manager(spec)
    yield made
    made.stop()
    wait_until(
        lambda: turn_for(made, 0.1).is_stopped,
        progress=progress_of(children, PATIENCE_SECONDS),
    )
    made._close()
    empty(*TABLES)


def enqueue_round(chance: random.Random) -> dict[int, float]:
    """Enqueue the tasks of a round; return the duration of each run by task id."""
    kinds = (processors.EndAboutTheLimit, processors.EndInTime)
    tasks = [kinds[n % 2](n, round(chance.uniform(0, LONGEST_SECONDS), 4)) for n in range(RUNS)]
    return {pk: task.args[1] for pk, task in zip(bulk_delay(tasks), tasks, strict=True)}


def reasons() -> dict[tuple[int, str], str]:
    """Return the reason or status with which each task ended, by its id and processor."""
    rows = Task.objects.values_list("pk", "processor_class", "status", "error_reason")
    return {(pk, name): reason or status for pk, name, status, reason in rows}


def test_cancels_and_limits_at_the_end_of_runs_hit_no_other_run(manager: Manager):
    chance = random.Random(7)
    seconds: dict[int, float] = {}
    cancels = CancelsAtTheEnd(manager, seconds)
    manager._components.append(cancels)
    counts = OutcomeCounts()
    ended: Counter[str] = Counter()

    with subscribed(RecordedEvents()) as recorded, subscribed(counts):
        while min(ended[end] for end in ENDS) <= ENOUGH and len(seconds) < ROUNDS_AT_MOST * RUNS:
            seconds.update(enqueue_round(chance))
            wait_until(
                lambda: turn_for(manager, 0.2).is_idle and counts.counts.total() >= len(seconds),
                every=0,
                progress=progress_of(children, PATIENCE_SECONDS),
            )
            ended = Counter(reasons().values())

    assert len(reasons()) == len(seconds)
    assert min(ended[end] for end in ENDS) > ENOUGH, ended
    assert set(ended) == set(ENDS)
    assert {pk for (pk, _), end in reasons().items() if end == "cancelled"} <= cancels.cancelled
    assert {name for (_, name), end in reasons().items() if end == "timeout"} <= {"EndAboutTheLimit"}
    assert set(Task.objects.values_list("attempts", "crashes", "retries")) == {(1, 0, 0)}
    assert counts.counts == {
        "RunsCompleted": ended["finished"],
        "TaskFailed": ended["timeout"],
        "TaskCancelled": ended["cancelled"],
    }
    assert len(recorded.of(RunInterrupted)) >= ended["timeout"] + ended["cancelled"]
    assert recorded.of(WorkerExited) == recorded.of(WorkerKilled) == []
