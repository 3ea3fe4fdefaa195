"""The ledger: exported counts, recorded runs and the table agree, whichever processes die."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db.models import Count, Q, Sum

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.processes.managing import Bench, ManagerProcess, processes
from tests.processes.observability.scraping import (
    TEXT,
    Scrape,
    address_of,
    get,
    growing,
    scrape,
    wait_for_scrape,
)
from tests.processes.observability.watching import Watching, wait_until_done
from tests.support.waiting import wait_until

TASKS = 10_000
SCRAPES = 100
DEADLY = 2
OUTCOMES = ("completed", "postponed", "retried", "failed")


class Repeating(threading.Thread):
    """Call ``act`` at regular intervals while used as a context manager."""

    def __init__(self, every_seconds: float, act: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self._every_seconds = every_seconds
        self._act = act
        self._stop_asked = threading.Event()

    def __enter__(self) -> "Repeating":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(self._every_seconds):
                self._act()
        except BaseException as error:
            self.error = error


class Killer:
    """Kill a random worker on each call of ``kill()``."""

    def __init__(self, fork_server: int) -> None:
        self.killed = 0
        self._fork_server = fork_server
        self._chance = random.Random(4)

    def kill(self) -> None:
        group = processes(os.getpgid(self._fork_server))
        workers = [process.pid for process in group if process.parent == self._fork_server]
        if workers:
            with suppress(ProcessLookupError):  # it has just been recycled
                os.kill(self._chance.choice(workers), signal.SIGKILL)
                self.killed += 1


class Watcher:
    """Scrape, and record every series that is lower than in the scrape before."""

    def __init__(self, manager: ManagerProcess) -> None:
        self.scrapes = 0
        self.fallen: list[tuple[str, float, float]] = []
        self._address = address_of(manager)
        self._before: dict[str, float] = {}

    def scrape(self) -> None:
        now = growing(get(self._address, accept=TEXT).body)
        before, self._before = self._before, now
        self.fallen += [(key, old, now.get(key, -1)) for key, old in before.items() if now.get(key, -1) < old]
        self.scrapes += 1


def enqueue_mixed() -> None:
    """Enqueue tasks with most of the outcomes a processor can have, in random order."""
    ways = ("complete", "postpone", "retry", "exhaust", "fail")
    tasks: list[Any] = [processors.Die(9) for _ in range(DEADLY)]
    tasks += [processors.Mixed(ways[index % 5], index) for index in range(TASKS // 4)]
    tasks += [processors.RetryConstantly(index % 3) for index in range(TASKS // 8)]
    tasks += [processors.Postpone(index % 3, 0) for index in range(TASKS // 8)]
    tasks += [processors.Fail("as asked") for _ in range(TASKS // 16)]
    tasks += [processors.Pass(seconds=0.001) for _ in range(TASKS - len(tasks))]
    random.Random(3).shuffle(tasks)
    bulk_delay(tasks)


def table() -> dict[str, dict[str, int]]:
    """Return, by processor, how many runs ended in each way, according to the table."""
    rows = Task.objects.values_list("processor_class").annotate(
        completed=Count("id", filter=Q(status="finished")),
        postponed=Sum("postpones"),
        retried=Sum("retries"),
        failed=Count("id", filter=Q(status="error") & ~Q(error_reason="worker_lost")),
        lost=Count("id", filter=Q(error_reason="worker_lost")),
    )
    return {name: dict(zip((*OUTCOMES, "lost"), numbers, strict=True)) for name, *numbers in rows}


def counted(seen: Scrape, processor: str) -> dict[str, int]:
    """Return how many runs of a processor ended in each way, according to the metrics."""
    totals = {way: int(seen.sum(f"partisan_tasks_{way}_total", processor=processor)) for way in OUTCOMES}
    reasons = seen.by("reason", "partisan_tasks_failed_total", processor=processor)
    lost = int(reasons.get("worker_lost", 0))
    return {**totals, "failed": totals["failed"] - lost, "lost": lost}


def unsent(bench: Bench, killed: set[int]) -> dict[str, int]:
    """Return, by processor, the last runs of killed workers whose end is not in the table."""
    ended = bench.journal("ended")
    rows = Task.objects.values_list("id", "status", "error_reason", "postpones", "retries")
    known = {
        task: postpones + retries + (status in ("finished", "error") and reason != "worker_lost")
        for task, status, reason, postpones, retries in rows
    }
    unknown = Counter(line["id"] for line in ended) - Counter(known)
    late: Counter[str] = Counter()
    for pid in killed:
        for line in reversed([line for line in ended if line["pid"] == pid]):
            if not unknown[line["id"]]:
                break
            late[line["processor"]] += 1
    return late


def exits(seen: Scrape) -> dict[str, float]:
    """Return, by reason, how many workers exited, according to the metrics."""
    return seen.by("reason", "partisan_worker_exits_total")


def logged_exits(manager: ManagerProcess) -> dict[str, int]:
    """Return, by reason, how many workers exited, according to the log."""
    return Counter(event["event.reason"] for event in manager.logged("worker.exited"))


def test_scraped_figures_recorded_runs_and_table_agree_while_workers_are_recycled_and_killed(
    watching: Watching,
):
    manager = watching.ready(WORKERS_COUNT=4, TASKS_PER_WORKER_INSTANCE=50)
    killer, watcher = Killer(manager.fork_server()), Watcher(manager)
    enqueue_mixed()
    with Repeating(0.05, watcher.scrape) as scraping:
        with Repeating(1, killer.kill):
            wait_until_done(200)
        wait_until(lambda: watcher.scrapes >= SCRAPES or scraping.error, 60)
    assert scraping.error is None
    wait_for_scrape(
        lambda: exits(scrape(manager)) == logged_exits(manager),
        what="exits agree with the log",
    )
    seen, in_table = scrape(manager), table()
    assert manager.stop() == 0

    recorded = Counter(line["processor"] for line in watching.bench.journal("ended"))
    killed = {
        line["partisan.worker.pid"]
        for line in manager.logged("worker.exited")
        if "partisan.worker.signal" in line
    }
    may_be_missing = unsent(watching.bench, killed)
    assert sum(in_table[name]["completed"] + in_table[name]["failed"] for name in in_table) == TASKS - DEADLY
    for name in in_table:
        runs = counted(seen, name)
        assert runs == in_table[name], name
        started = seen.sum("partisan_tasks_started_total", processor=name)
        assert started == sum(runs[way] for way in OUTCOMES), name
        assert recorded[name] - may_be_missing[name] <= started <= recorded[name], name
        assert seen.sum("partisan_task_duration_seconds_count", processor=name) == started
        assert seen.sum("partisan_task_queue_wait_seconds_count", processor=name) == started
    assert seen.sum("partisan_tasks_failed_total", reason="worker_lost") == DEADLY
    assert min(len(killed), killer.killed) >= 3
    assert seen.sum("partisan_worker_exits_total", reason="recycled") > TASKS / 100
    assert watcher.fallen == []
    assert watcher.scrapes >= SCRAPES
