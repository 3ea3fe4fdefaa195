"""A worker that ends does what a Python process does at exit, within a time limit."""

import os
import time
from typing import Any

import pytest

from django_partisan.processor import bulk_delay
from tests.app import ending_tasks as processors
from tests.processes.observability.lines import checked
from tests.support.rows import count_by_status
from tests.support.waiting import wait_until

from .managing import Bench, ManagerProcess


def start(bench: Bench, asked: str, *options: str, **queue: Any) -> ManagerProcess:
    """Start a manager whose project buffers log lines in memory."""
    memory = {"class": "logging.handlers.MemoryHandler", "capacity": 1000, "flushLevel": 50}
    logging = {
        "version": 1,
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(bench.folder / "shop.out")},
            "memory": {**memory, "target": "file"},
        },
        "loggers": {"shop": {"handlers": ["memory"]}},
    }
    settings = {"LOGGING": logging, "PARTISAN_OBSERVABILITY": {"TELEMETRY_SHUTDOWN_TIMEOUT": 1}}
    log = ("--log-file", str(bench.folder / "log.out"))
    variables = {"TEST_ENDINGS": asked, "PYTHONUNBUFFERED": ""}
    return bench.start(*log, *options, settings=settings, variables=variables, WORKERS_COUNT=1, **queue)


def shop_log(bench: Bench) -> list[str]:
    return (bench.folder / "shop.out").read_text().splitlines()


def log(bench: Bench) -> str:
    return (bench.folder / "log.out").read_text()


@pytest.mark.parametrize("preload", [True, False])
def test_recycled_workers_lose_nothing_that_handlers_and_libraries_hold_back(bench: Bench, preload: bool):
    ids = bulk_delay(processors.HoldBack() for _ in range(3))
    manager = start(bench, "tell", "--until-empty", TASKS_PER_WORKER_INSTANCE=1, PRELOAD=preload)

    assert manager.ended() == 0, log(bench)

    # A worker is replaced while it still ends, so the next one may write its lines first.
    assert sorted(shop_log(bench)) == sorted(f"held back in task {task_id}" for task_id in ids)
    workers = [(line["pid"], line["shared"]) for line in bench.journal("held back")]
    assert len({pid for pid, _ in workers}) == 3
    steps = [(line["pid"], line["what"]) for line in bench.journal() if line["what"] != "held back"]
    for pid, is_shared_folder_there in workers:
        assert is_shared_folder_there
        assert [what for of, what in steps if of == pid] == ["stopping", "exiting"]
    if not preload:  # each worker loaded the project itself, and has its own folder
        assert not any(os.path.exists(line["folder"]) for line in bench.journal("held back"))


def test_what_a_task_prints_is_written_at_once_and_a_handler_that_hangs_delays_the_end_by_the_bound(
    bench: Bench,
):
    manager = start(bench, "hang", SLEEP_DELAY_SECONDS=30)
    processors.HoldBack("gate").delay()
    bench.wait_for("held back")
    wait_until(lambda: manager.out() == "printed\n")
    bench.open("gate")
    wait_until(lambda: count_by_status() == {"finished": 1})

    began = time.monotonic()
    assert manager.stop() == 0

    assert 1 <= time.monotonic() - began < 1.1 + 2  # as guaranteed
    assert len(bench.journal("exiting")) == 1
    assert len(shop_log(bench)) == 1
    assert "worker.exit_timeout" in [line.get("event.action") for line in checked(log(bench))]


def test_a_child_that_a_receiver_forks_ends_with_its_own_exit_code_and_runs_no_exit_handler(bench: Bench):
    manager = start(bench, "fork", "--until-empty")
    processors.HoldBack().delay()

    assert manager.ended() == 0, log(bench)

    assert [line["code"] for line in bench.journal("parent")] == [7, 7], "after the run, and at the end"
    [exiting] = bench.journal("exiting")
    assert {line["pid"] for line in bench.journal("parent")} == {exiting["pid"]}
