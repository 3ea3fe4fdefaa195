"""The command: its output, the effect of its options, and when it ends."""

import os
import signal
import subprocess
import time
from datetime import timedelta
from datetime import timezone as zone

import pytest
from django.utils import timezone

from django_partisan.processor import bulk_delay
from tests.app import child_tasks
from tests.app import partisan_tasks as processors
from tests.settings import INSTALLED_APPS
from tests.support.database import sessions_of_others
from tests.support.rows import number_of
from tests.support.waiting import wait_until
from tools import database_url, postgres

from .managing import Bench

UTC = zone.utc


def test_wait_for_database_waits_until_it_is_there(bench: Bench):
    with postgres.server() as server:
        database = database_url.parse(server.url)
        assert bench.manage("migrate", "--run-syncdb", "-v0", database=database).returncode == 0
        server.stop()
        manager = bench.start("--once", "--wait-for-database", "20", database=database)
        with pytest.raises(subprocess.TimeoutExpired):
            manager.process.wait(1)
        server.start()

        assert manager.ended() == 0


def test_options_of_both_spellings_override_the_settings(bench: Bench):
    bulk_delay(processors.Wait("gate", number) for number in range(20))
    manager = bench.ready(
        "--workers_count", "1", "--min-queue-size", "0", "--max_queue_size", "3",
        "--sleep-delay-seconds", "0.5", WORKERS_COUNT=1, MAX_QUEUE_SIZE=15,
    )  # fmt: skip
    bench.wait_for("begun")

    wait_until(lambda: number_of("in_process") == 3)
    bench.open("gate")
    assert "with 1 worker:" in manager.err()
    assert manager.stop() == 0


def test_a_manager_keeps_four_connections_and_none_of_its_main_thread(bench: Bench):
    processors.Pass().delay()
    bench.start(WORKERS_COUNT=1)

    names = [f"django_partisan {role} default" for role in ("chores", "claim", "pulse", "settle")]
    wait_until(lambda: sessions_of_others() == names, what=lambda: str(sessions_of_others()))


def test_flat_settings_serve_the_default_queue_too(bench: Bench):
    manager = bench.start(settings={"PARTISAN_CONFIG": {}, "WORKERS_COUNT": 3})

    manager.wait_for("worker.ready", 3)


def test_once_runs_what_is_due_and_says_what_waits(bench: Bench):
    bulk_delay(processors.Postpone(1, 0) for _ in range(30))
    at = timezone.now() + timedelta(hours=2)
    processors.Pass().delay(execute_after=at)
    manager = bench.start("--once")
    assert manager.ended() == 0

    assert number_of("finished") == 30
    due = f"the next is due at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."
    assert manager.err().splitlines()[1] == f"1 task waits in queue 'default'; {due}"


def test_once_ends_with_2_if_a_task_failed(bench: Bench):
    bulk_delay([processors.Fail("no"), processors.Pass()])
    manager = bench.start("--once")

    assert manager.ended() == 2
    assert manager.err().splitlines()[1] == "1 failed. Nothing waits in queue 'default'."


@pytest.mark.parametrize(
    ("scheduled", "postponed"), [(2, 0.4), (0.5, 1)], ids=["scheduled last", "postponed last"]
)
def test_until_empty_waits_for_tasks_that_are_scheduled_postponed_or_retried(
    bench: Bench, scheduled: float, postponed: float
):
    processors.Pass().delay(execute_after=timezone.now() + timedelta(seconds=scheduled))
    processors.Postpone(2, postponed).delay()
    processors.RetryConstantly(2).delay()
    manager = bench.start("--until_empty")

    assert manager.ended() == 0
    assert number_of("finished") == 3


def test_once_takes_a_signal_as_any_manager_does(bench: Bench):
    manager = bench.start("--once")
    processors.Wait("gate").delay()
    bench.wait_for("begun")
    manager.send(signal.SIGTERM)
    manager.wait_for("manager.draining")
    bench.open("gate")

    assert manager.ended() == 0


def test_workers_that_preload_nothing_serve_as_well(bench: Bench):
    bulk_delay(processors.Pass(number) for number in range(10))

    assert bench.start("--once", PRELOAD=False).ended() == 0
    assert number_of("finished") == 10


@pytest.mark.parametrize("preload", [True, False])
def test_a_start_method_that_the_project_has_chosen_is_that_of_its_tasks(bench: Bench, preload: bool):
    child_tasks.TellMultiprocessing("only the method").delay()

    assert bench.start("--once", variables={"START_METHOD": "spawn"}, PRELOAD=preload).ended() == 0

    assert [line["method"] for line in bench.journal("multiprocessing")] == ["spawn"]


def test_autoreload_restarts_the_manager_when_code_changes(bench: Bench):
    module = bench.folder / "changing.py"
    module.write_text("")
    settings = {"ROOT_URLCONF": "tests.urls", "INSTALLED_APPS": [*INSTALLED_APPS, "changing"]}
    manager = bench.start(
        "--autoreload", settings=settings, variables={"PYTHONPATH": str(bench.folder)}, WORKERS_COUNT=1
    )
    manager.wait_for("worker.ready", 1)
    processors.Pass("before").delay()
    bench.wait_for("ended", 1)

    later = time.time() + 5
    module.write_text("changed = True")
    os.utime(module, (later, later))
    manager.wait_for("worker.ready", 2)
    processors.Pass("after").delay()
    wait_until(lambda: number_of("finished") == 2)
    manager.send(signal.SIGTERM)

    manager.ended()
    wait_until(manager.is_gone, 10)
    assert "Traceback" not in manager.err()


def test_in_immediate_mode_it_says_so_and_workers_leave_what_their_tasks_enqueue_to_the_queue(bench: Bench):
    processors.EnqueueAnother().delay()

    manager = bench.start("--until-empty", WORKERS_COUNT=1, settings={"PARTISAN_IMMEDIATE": "raise"})

    assert manager.ended() == 0
    assert [(line["what"], line["processor"]) for line in bench.journal()] == [
        ("begun", "EnqueueAnother"),
        ("ended", "EnqueueAnother"),
        ("begun", "Pass"),
        ("ended", "Pass"),
    ]
    said = manager.err().splitlines()
    assert said[0].startswith(
        "PARTISAN_IMMEDIATE is set: processes with these settings run the tasks that they enqueue"
    )
    assert said[1].startswith("Serving queue 'default'")
