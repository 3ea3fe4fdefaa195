"""Configurations that `start_partisan` refuses: exit code 1, and one line that says why."""

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
    """Return the one line with which a manager refuses to start."""
    assert manager.ended() == 1
    assert manager.out() == ""
    [line] = manager.err().splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "options", "parts"),
    [
        ([], {"LEASE_SECONDS": 1}, ["'LEASE_SECONDS'", "is 1;"]),
        (["--workers_count", "0"], {}, ["is 0; expected an integer, at least 1"]),
        (["--log-file", "/nowhere/log"], {}, ["/nowhere/log"]),
        ([], {"database": SQLITE}, ["PostgreSQL"]),
        (["--workers", "3"], {}, ["ambiguous option", "in full", "--help"]),
        (
            [],
            {"variables": {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}},
            ["OTEL_EXPORTER_OTLP_ENDPOINT is 'localhost:4318'", "such as http://localhost:4318"],
        ),
    ],
    ids=[
        "wrong setting",
        "zero is a value",
        "log file that cannot be opened",
        "not PostgreSQL",
        "ambiguous option",
        "OTLP endpoint without a scheme",
    ],
)
def test_what_cannot_work_is_refused_in_one_line_that_names_it(
    bench: Bench, arguments: list[str], options: dict[str, Any], parts: list[str]
):
    line = refusal(bench.start(*arguments, **options))

    assert [part for part in parts if part not in line] == []


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


def test_database_that_does_not_exist_is_not_waited_for_but_to_be_created(bench: Bench):
    line = refusal(bench.start(database={**this_database(), "NAME": "nowhere"}))

    assert "The database 'nowhere' at " in line
    assert line.endswith(
        'database "nowhere" does not exist. Create it, or correct NAME and HOST in DATABASES.'
    )


def test_metrics_that_cannot_be_served_are_refused_in_one_line_before_the_queue_is_said_to_be_served(
    bench: Bench,
):
    manager = bench.start("--metrics-port", "0", "--metrics-token-file", "/nowhere/token")

    assert manager.ended() == 1
    [line] = manager.err().splitlines()
    assert line == (
        "CommandError: The metrics token file '/nowhere/token' cannot be read: No such file or directory. "
        "Correct --metrics-token-file or METRICS_TOKEN_FILE, or let this user read the file."
    )
    [logged] = manager.logged("metrics.server_failed")
    assert "error.stack_trace" not in logged


def test_wait_for_database_ends(bench: Bench):
    began = time.monotonic()

    refusal(bench.start("--wait_for_database", "1", database=nowhere()))
    assert time.monotonic() - began > 1


def test_wait_for_a_database_that_accepts_connections_and_does_not_answer_ends(bench: Bench):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        began = time.monotonic()
        line = refusal(bench.start("--wait-for-database", "1", database={**nowhere(), "PORT": port}))

    assert "timeout expired" in line
    assert time.monotonic() - began < 20


def test_refusal_with_autoreload_is_one_line_too(bench: Bench):
    manager = bench.start("--autoreload", WORKERS_COUNT=0)
    wait_until(lambda: "WORKERS_COUNT" in manager.err() and manager.err().endswith("\n"))

    assert "Traceback" not in manager.err()
    manager.send_to_group(signal.SIGINT)
