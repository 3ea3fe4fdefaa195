"""The command: what it refuses, what it says, when it ends."""

import os
import signal
import socket
import subprocess
import time
from datetime import timedelta
from datetime import timezone as zone
from typing import Any

import pytest
from django.utils import timezone

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from lab import database_url, postgres
from tests.app import partisan_tasks as processors

from .managing import Bench, ManagerProcess, manage, this_database, wait_until

UTC = zone.utc
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nowhere() -> dict[str, Any]:
    return {**this_database(), "HOST": "127.0.0.1", "PORT": str(free_port()), "PASSWORD": "hush"}


def refusal(manager: ManagerProcess) -> str:
    """Return the one line that a manager refuses to start with."""
    assert manager.ended() == 1
    assert manager.out() == ""
    [line] = manager.err().splitlines()
    return line


REFUSED_SETTINGS: dict[str, Any] = {
    "LEASE_SECONDS": 1,
    "WORKER_COUNT": 5,
}


@pytest.mark.parametrize(("key", "value"), REFUSED_SETTINGS.items())
def test_wrong_or_unknown_setting_is_refused_by_name(bench: Bench, key: str, value: Any):
    line = refusal(bench.start(**{key: value}))

    assert f"{key!r}" in line
    assert repr(value) in line or key == "WORKER_COUNT"


def test_wrong_flat_setting_is_refused_by_name(bench: Bench):
    assert "SLEEP_DELAY_SECONDS is 'often'" in refusal(bench.start(settings={"SLEEP_DELAY_SECONDS": "often"}))


def test_unknown_queue_is_refused_and_the_known_are_named(bench: Bench):
    manager = bench.start("--queue-name", "nobody", settings={"PARTISAN_CONFIG": {"default": {}, "mail": {}}})

    line = refusal(manager)
    assert "'nobody'" in line
    assert "'default', 'mail'" in line


def test_min_above_max_is_refused(bench: Bench):
    line = refusal(bench.start("--min-queue-size", "20", "--max-queue-size", "10"))

    assert "20" in line
    assert "10" in line


@pytest.mark.parametrize("option", ["--workers_count", "--max-queue-size"])
def test_zero_on_the_command_line_is_a_value(bench: Bench, option: str):
    assert "is 0; expected an integer, at least 1" in refusal(bench.start(option, "0"))


def test_database_that_is_not_postgresql_is_refused(bench: Bench):
    assert "PostgreSQL" in refusal(bench.start(database=SQLITE))


def test_missing_migrations_are_refused_with_the_command_that_helps(bench: Bench):
    with postgres.server() as server:
        line = refusal(bench.start(database=database_url.parse(server.url)))

    assert "0001_initial" in line
    assert "migrate django_partisan" in line


def test_database_out_of_reach_is_refused_with_its_address_and_without_its_password(bench: Bench):
    database = nowhere()

    line = refusal(bench.start(database=database))
    assert f"127.0.0.1:{database['PORT']}" in line
    assert database["NAME"] in line
    assert "hush" not in line


def test_temporary_folder_whose_path_is_too_long_for_sockets_is_refused(bench: Bench):
    folder = bench.folder / ("long" * 20)
    folder.mkdir()

    assert str(folder) in refusal(bench.start(variables={"TMPDIR": str(folder)}))


def test_log_file_that_cannot_be_opened_is_refused(bench: Bench):
    assert "/nowhere/log" in refusal(bench.start("--log-file", "/nowhere/log"))


def test_wait_for_database_waits_until_it_is_there(bench: Bench):
    with postgres.server() as server:
        database = database_url.parse(server.url)
        assert manage(bench, "migrate", "--run-syncdb", "-v0", database=database).returncode == 0
        server.stop()
        manager = bench.start("--once", "--wait-for-database", "20", database=database)
        with pytest.raises(subprocess.TimeoutExpired):
            manager.process.wait(1)
        server.start()

        assert manager.ended() == 0


def test_wait_for_database_ends(bench: Bench):
    began = time.monotonic()

    refusal(bench.start("--wait_for_database", "1", database=nowhere()))
    assert time.monotonic() - began > 1


def test_options_of_both_spellings_override_the_settings(bench: Bench):
    bulk_delay(processors.Wait("gate", number) for number in range(20))
    manager = bench.ready(
        "--workers_count", "1", "--min-queue-size", "0", "--max_queue_size", "3",
        "--sleep-delay-seconds", "0.5", WORKERS_COUNT=1, MAX_QUEUE_SIZE=15,
    )  # fmt: skip
    bench.wait_for("begun")

    wait_until(lambda: Task.objects.filter(status="in_process").count() == 3)
    bench.open("gate")
    assert "with 1 worker:" in manager.err()
    assert manager.stop() == 0


def test_flat_settings_serve_the_default_queue_too(bench: Bench):
    manager = bench.start(settings={"PARTISAN_CONFIG": {}, "WORKERS_COUNT": 3})

    manager.wait_for("worker.ready", 3)


def test_one_line_says_what_is_served(bench: Bench):
    manager = bench.start("--once", WORKERS_COUNT=1)
    assert manager.ended() == 0

    line, _ = manager.err().splitlines()
    for part in (
        "queue 'default'",
        "1 worker",
        this_database()["NAME"],
        "PostgreSQL 1",
        "Django ",
        "django-partisan 2.",
    ):
        assert part in line


def test_once_runs_what_is_due_and_says_what_waits(bench: Bench):
    bulk_delay(processors.Postpone(1, 0) for _ in range(30))
    at = timezone.now() + timedelta(hours=2)
    processors.Pass().delay(execute_after=at)
    manager = bench.start("--once")
    assert manager.ended() == 0

    assert Task.objects.filter(status="finished").count() == 30
    due = f"the next is due at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."
    assert manager.err().splitlines()[1] == f"1 task waits in queue 'default'; {due}"


def test_once_ends_with_2_if_a_task_failed(bench: Bench):
    bulk_delay([processors.Fail("no"), processors.Pass()])
    manager = bench.start("--once")

    assert manager.ended() == 2
    assert manager.err().splitlines()[1] == "1 failed. Nothing waits in queue 'default'."


def test_once_counts_a_task_that_is_retried_as_not_failed(bench: Bench):
    processors.RetryConstantly(1).delay()

    assert bench.start("--once").ended() == 0


def test_until_empty_waits_for_tasks_that_are_scheduled_or_postponed(bench: Bench):
    processors.Pass().delay(execute_after=timezone.now() + timedelta(seconds=2))
    processors.Postpone(2, 0.4).delay()
    processors.RetryConstantly(2).delay()
    manager = bench.start("--until_empty")

    assert manager.ended() == 0
    assert Task.objects.filter(status="finished").count() == 3


def test_until_empty_waits_for_a_task_that_is_postponed_as_the_last(bench: Bench):
    processors.Postpone(2, 0.5).delay()

    assert bench.start("--until-empty").ended() == 0
    assert Task.objects.get().status == "finished"


def test_once_takes_a_signal_as_any_manager_does(bench: Bench):
    manager = bench.start("--once")
    processors.Wait("gate").delay()
    bench.wait_for("begun")
    manager.send(signal.SIGTERM)
    manager.wait_for("manager.draining")
    bench.open("gate")

    assert manager.ended() == 0


def test_failed_task_does_not_change_the_exit_code_of_a_manager_that_serves(bench: Bench):
    manager = bench.ready()
    processors.Fail("no").delay()
    manager.wait_for("task.failed")

    assert manager.stop() == 0


def test_standard_output_carries_log_lines_only(bench: Bench):
    processors.Pass().delay()
    manager = bench.start("--once")
    manager.ended()

    assert manager.told("task.completed")
    assert len(manager.out().splitlines()) == sum(line.startswith("{") for line in manager.out().splitlines())


def test_workers_that_preload_nothing_serve_as_well(bench: Bench):
    bulk_delay(processors.Pass(number) for number in range(10))

    assert bench.start("--once", PRELOAD=False).ended() == 0
    assert Task.objects.filter(status="finished").count() == 10


def test_help_teaches_the_options_the_signals_and_the_exit_codes(bench: Bench):
    shown = manage(bench, "start_partisan", "--help").stdout

    for text in (
        "--queue-name",
        "--workers_count",
        "--once",
        "SECOND",
        "exit codes:",
        "TERM or INT",
        "examples:",
    ):
        assert text in shown


def test_autoreload_starts_anew_when_code_changes(bench: Bench):
    module = bench.folder / "changing.py"
    module.write_text("")
    settings = {"ROOT_URLCONF": "tests.urls", "INSTALLED_APPS": [*apps(), "changing"]}
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
    wait_until(lambda: Task.objects.filter(status="finished").count() == 2)
    manager.send(signal.SIGTERM)

    manager.ended()
    wait_until(manager.is_gone, 10)
    assert "Traceback" not in manager.err()


def test_refusal_with_autoreload_is_one_line_too(bench: Bench):
    manager = bench.start("--autoreload", WORKERS_COUNT=0)
    wait_until(lambda: "WORKERS_COUNT" in manager.err() and manager.err().endswith("\n"))

    assert "Traceback" not in manager.err()
    manager.send_to_group(signal.SIGINT)


def apps() -> list[str]:
    from django.conf import settings

    return list(settings.INSTALLED_APPS)
