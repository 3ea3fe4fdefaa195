"""Signals between the start of the command and its loop, also as the first process of a container."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from django_partisan.models import ManagerLease, Task
from tests.app import partisan_tasks as processors
from tests.support.commands import MANAGE, ROOT
from tests.support.database import this_database
from tests.support.waiting import wait_until

from .managing import Bench, processes


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and never answers; a driver that waits for it ignores signals."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_while_it_waits_for_the_database_ends_the_command_with_nothing_claimed(
    bench: Bench, silent: socket.socket, number: signal.Signals
):
    processors.Pass().delay()
    database = {**this_database(), "HOST": "127.0.0.1", "PORT": str(silent.getsockname()[1])}
    manager = bench.start("--wait-for-database", "60", database=database)
    with silent.accept()[0]:
        manager.send(number)

        assert manager.ended(8) == 0  # the connection attempt takes ten seconds

    [line] = manager.err().splitlines()
    assert line == f"Stopped by {number.name} before it began to serve; nothing was claimed."
    assert Task.objects.get().attempts == 0
    assert not ManagerLease.objects.exists()


def test_the_first_process_of_a_container_takes_a_stop_while_it_starts(bench: Bench, silent: socket.socket):
    unshare = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process may have a namespace of process ids here")
    database = {**this_database(), "HOST": "127.0.0.1", "PORT": str(silent.getsockname()[1])}
    environment = bench.environment(database, {})
    command = [*unshare, *MANAGE, "start_partisan", "--wait-for-database", "60"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as outside:
        try:
            with silent.accept()[0]:
                [first] = [process.pid for process in processes() if process.parent == outside.pid]
                os.kill(first, signal.SIGTERM)

                assert outside.wait(8) == 0
        finally:
            outside.kill()


def test_under_nohup_a_hangup_stops_neither_the_manager_nor_what_its_tasks_start(bench: Bench):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        manager = bench.start(WORKERS_COUNT=1)
    finally:
        signal.signal(signal.SIGHUP, before)
    manager.wait_for("worker.ready")
    manager.send_to_group(signal.SIGHUP)
    processors.TellSignals().delay()

    [line] = bench.wait_for("signals")
    assert line["ignored_or_blocked"] == ["SIGHUP"]
    assert manager.stop() == 0
    [draining] = manager.logged("manager.draining")
    assert draining["partisan.manager.signal"] == "SIGTERM"


def test_stacks_are_logged_while_it_waits_for_the_database(bench: Bench, silent: socket.socket):
    database = {**this_database(), "HOST": "127.0.0.1", "PORT": str(silent.getsockname()[1])}
    manager = bench.start("--wait-for-database", "60", database=database)
    with silent.accept()[0]:
        manager.send(signal.SIGQUIT)
        stacks = manager.wait_for("thread.stack", 2)
        manager.send(signal.SIGTERM)

        assert manager.ended(8) == 0  # the connection attempt takes ten seconds
    assert any("call_with_connection sql/readiness.py" in line["message"] for line in stacks)
    wait_until(manager.is_gone)
