"""Ten thousand tasks of every kind while workers start and end: the account of each task is right."""

import os
import random
import signal
from typing import Any

from django.db.models import F, Sum

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.rows import number_of
from tests.support.waiting import let_pass, wait_until

from .managing import Bench

WAYS = ("complete", "fail", "postpone", "retry", "exhaust")
EACH = 2000
# way: status, reason, attempts, postpones, retries
ENDS = {
    "complete": ("finished", None, 1, 0, 0),
    "fail": ("error", "error", 1, 0, 0),
    "postpone": ("finished", None, 2, 1, 0),
    "retry": ("finished", None, 2, 0, 1),
    "exhaust": ("error", "retries_exhausted", 3, 0, 2),
}


def test_ten_thousand_mixed_tasks_over_four_recycled_workers_reach_their_right_end(bench: Bench):
    way_of: dict[int, str] = {}
    for start in range(0, EACH, 200):
        made = [(way, number) for number in range(start, start + 200) for way in WAYS]
        ids = bulk_delay(processors.Mixed(way, number) for way, number in made)
        way_of |= {pk: way for pk, (way, _) in zip(ids, made, strict=True)}

    manager = bench.start(
        "--until-empty", "--log-format", "json", "--log-file", str(bench.folder / "log"),
        WORKERS_COUNT=4, TASKS_PER_WORKER_INSTANCE=700, MIN_QUEUE_SIZE=200, MAX_QUEUE_SIZE=1000,
    )  # fmt: skip
    assert manager.ended() == 2, manager.err()

    assert manager.err().splitlines()[1:] == ["4000 failed. Nothing waits in queue 'default'."]
    rows = Task.objects.values_list("id", "status", "error_reason", "attempts", "postpones", "retries")
    assert {pk: rest for pk, *rest in rows} == {pk: list(ENDS[way]) for pk, way in way_of.items()}
    assert not Task.objects.filter(crashes__gt=0).exists()
    assert all(ended is not None for _, ended in runs(bench)), "no task ran twice at the same time"
    begun = bench.journal("begun")
    assert {(line["id"], line["attempt"], line["args"][0]) for line in begun} == {
        (pk, attempt, way) for pk, way in way_of.items() for attempt in range(1, ENDS[way][2] + 1)
    }
    assert len(begun) == sum(attempts * EACH for _, _, attempts, _, _ in ENDS.values())
    assert len({line["pid"] for line in begun}) >= 4 + 18_000 // 700 - 4


def test_every_task_ends_though_workers_fork_servers_and_managers_are_killed_in_between(bench: Bench):
    sizes = {"WORKERS_COUNT": 4, "MAX_CRASHES": 99, "MIN_QUEUE_SIZE": 50, "MAX_QUEUE_SIZE": 200}
    ids = bulk_delay(processors.Pass(number, seconds=0.002) for number in range(4000))
    manager = bench.ready(**sizes)
    choose = random.Random(7)
    killed: set[int] = set()
    for round_ in range(12):
        let_pass(0.1)
        if round_ == 4:
            os.kill(manager.fork_server(), signal.SIGKILL)
        elif round_ == 8:
            manager.send_to_group(signal.SIGSTOP)  # so that no worker starts before the others are killed
            killed.update(process.pid for process in manager.process_tree())
            manager.send_to_group(signal.SIGKILL)
            wait_until(manager.is_gone)
            manager = bench.ready(**sizes)
        elif workers := manager.workers():
            victim = choose.choice(workers)
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)
    wait_until(lambda: number_of("finished") == 4000, progress=lambda: number_of("finished"))

    assert manager.stop() == 0
    assert {line["id"] for line in bench.journal("ended")} == set(ids)
    for begun, line in runs(bench):
        assert line is not None or begun["pid"] in killed, "only a killed worker leaves a run unfinished"
    extra = len(bench.journal("begun")) - 4000
    crashes = Task.objects.aggregate(sum=Sum("crashes"))["sum"]
    assert crashes <= extra < 400, "what a dead worker had not begun, or had settled, ran once"
    assert set(Task.objects.values_list(F("attempts") - F("crashes"), flat=True)) == {1}


def runs(bench: Bench) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return the first and the last line of each run; the last is ``None`` if the run did not end."""
    open_: dict[int, dict[str, Any]] = {}
    found: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
    for line in bench.journal():
        before = open_.pop(line["id"], None)
        if line["what"] == "begun":
            if before is not None:
                found.append((before, None))
            open_[line["id"]] = line
        else:
            assert before is not None
            assert before["pid"] == line["pid"]
            found.append((before, line))
    return found + [(begun, None) for begun in open_.values()]
