"""What `start_partisan` refuses to start with: exit code 1, and one line that says why."""

import signal
import socket
import time
from typing import Any

import pytest

from tests.support.database import this_database
from tests.support.waiting import wait_until
from tools import database_url, postgres

from .managing import Bench, ManagerProcess

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


def test_wait_for_database_ends(bench: Bench):
    began = time.monotonic()

    refusal(bench.start("--wait_for_database", "1", database=nowhere()))
    assert time.monotonic() - began > 1


def test_refusal_with_autoreload_is_one_line_too(bench: Bench):
    manager = bench.start("--autoreload", WORKERS_COUNT=0)
    wait_until(lambda: "WORKERS_COUNT" in manager.err() and manager.err().endswith("\n"))

    assert "Traceback" not in manager.err()
    manager.send_to_group(signal.SIGINT)
