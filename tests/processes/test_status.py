"""Running tasks are visible from outside: in the managers' rows, with the command, and on a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from typing import Any

from django_partisan.engine.manager.state_publisher import LONG_SECONDS
from django_partisan.models import ManagerLease, Task
from tests.app.partisan_tasks import Wait
from tests.support.commands import MANAGE, ROOT
from tests.support.waiting import PATIENCE_SECONDS, wait_until

from .managing import Bench

QUIET_LEASE_SECONDS = 600
"""Heartbeats are 200 s apart, unless a manager asks for one to learn of the others."""


def states() -> list[dict[str, Any]]:
    return [state or {} for state in ManagerLease.objects.values_list("state", flat=True)]


def long_runs() -> dict[int, dict[str, Any]]:
    """Return the published runs that last long; a heartbeat also publishes those that have just begun."""
    runs = [run for state in states() for run in state.get("runs", ())]
    return {run["task"]: run for run in runs if run["seconds"] > LONG_SECONDS}


def status(bench: Bench, *options: str) -> Any:
    result = bench.manage("partisan_status", "--format", "json", *options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_long_runs_of_two_managers_are_visible_with_their_processes_and_vanish(bench):
    first, second = (bench.ready(LEASE_SECONDS=QUIET_LEASE_SECONDS, WORKERS_COUNT=1) for _ in range(2))
    before = time.monotonic()
    tasks = [Wait("gate", number).delay() for number in range(2)]
    bench.wait_for("begun", 2)

    wait_until(lambda: long_runs().keys() == {task.pk for task in tasks}, what=lambda: str(states()))
    runs = long_runs()
    passed = time.monotonic() - before
    document = status(bench)

    assert {run["pid"] for run in runs.values()} == {*first.workers(), *second.workers()}
    assert all(run["processor"] == "Wait" and run["worker"] == 0 for run in runs.values())
    assert all(run["seconds"] < passed for run in runs.values())
    shown = {manager["pid"]: manager["runs"] for manager in document["managers"]}
    assert shown.keys() == {first.pid, second.pid}
    for manager in (first, second):
        [run] = shown[manager.pid]
        assert run["pid"] in manager.workers()
        assert run["seconds"] >= runs[run["task"]]["seconds"]
    [why] = {status(bench, "--task", str(tasks[0].pk))["why"]}
    assert f"process {runs[tasks[0].pk]['pid']}" in why

    bench.open("gate")
    bench.wait_for("ended", 2)
    wait_until(lambda: not Task.objects.exclude(status="finished").exists())
    assert [manager["runs"] for manager in status(bench)["managers"]] == [[], []]


def test_a_run_without_its_manager_is_visible(bench):
    manager = bench.ready(WORKERS_COUNT=1)
    task = Wait("gate").delay()
    bench.wait_for("begun")
    [worker] = manager.workers()

    manager.send(signal.SIGKILL)

    wait_until(lambda: any(lease.is_worker for lease in ManagerLease.objects.all()), what="a worker's row")
    wait_until(lambda: Task.objects.filter(claimed_by__in=alone()).exists())
    [shown] = [one for one in status(bench)["managers"] if one["role"] == "worker"]
    assert [(run["task"], run["pid"]) for run in shown["runs"]] == [(task.pk, worker)]
    assert shown["pid"] == worker
    why = status(bench, "--task", str(task.pk))["why"]
    assert "whose manager has died" in why
    bench.open("gate")


def alone() -> list[Any]:
    return [lease.pk for lease in ManagerLease.objects.all() if lease.is_worker]


def test_watching_at_a_terminal_redraws_until_ctrl_c(bench):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*MANAGE, "partisan_status", "--watch", "0.2"],
        cwd=ROOT,
        env=bench.environment(None, {}) | {"LINES": "24", "COLUMNS": "80"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while seen.count(b"\x1b[H\x1b[J") < 3 and time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                seen += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0, seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert seen.count(b"django-partisan 2") >= 2
    assert b"Traceback" not in seen


def test_watching_into_a_pipe_that_is_closed_ends(bench):
    process = subprocess.Popen(
        [*MANAGE, "partisan_status", "--watch", "0.2"],
        cwd=ROOT,
        env=bench.environment(None, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        first = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert first.startswith("django-partisan 2")
    assert (process.returncode, errors) == (0, "")


def test_a_heartbeat_publishes_what_is_idle(bench):
    bench.ready(LEASE_SECONDS=3, WORKERS_COUNT=2)

    [state] = wait_until(
        lambda: [one for one in states() if one.get("totals", {}).get("workers") == 2],
        what=lambda: str(states()),
    )

    assert state["runs"] == []
    assert state["totals"]["workers_configured"] == 2
    assert (state["draining"], state["totals"]["busy"]) == (False, 0)
