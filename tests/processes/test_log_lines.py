"""Log lines of real processes: six at once on one pipe or file, and outputs that are closed."""

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import termios
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.waiting import wait_until

PROCESSES = 6
LINES_EACH = 150
TRACE_BYTES = 9 * 1024
DEADLINE_SECONDS = 60.0

WORKER = """
import logging, sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["django_partisan"], LOGGING_CONFIG=None)
from django_partisan import outcomes
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.values import ErrorInfo, Run
from django_partisan import logs

slot, count, trace_bytes, log_format, log_file = sys.argv[1:]
logs.setup("worker", log_format, log_file or None)
error = ErrorInfo("app.Refused", "no", "beginning " + "\\u00fc" * (int(trace_bytes) // 2) + " end")
print("ready", file=sys.stderr, flush=True)
sys.stdin.readline()
for number in range(int(count)):
    run = Run(number, "SendMail", "default", 10, 1, 0, 0, int(slot), 1, 0.0, None)
    bus.emit(TaskFailed, run, 0.1, outcomes.REASON_ERROR, error)
for handler in logging.getLogger("django_partisan").handlers:
    assert handler.writer.drain(60)
print("lost", swallowed.counts["logs"], file=sys.stderr, flush=True)
"""


def start(
    processes: ExitStack,
    slot: int,
    count: int,
    log_format: str = "ecs",
    log_file: str = "",
    before: Sequence[str] = (),
    **how: Any,
) -> subprocess.Popen[str]:
    arguments = [str(slot), str(count), str(TRACE_BYTES), log_format, log_file]
    command = [*before, sys.executable, "-c", WORKER, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    started = processes.enter_context(subprocess.Popen(command, **{**pipes, **how}))
    processes.callback(started.kill)
    return started


def begin_together(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def waiting_in(pipe: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))
    return int(count)


def what_is_said_at_the_end(process: subprocess.Popen[str]) -> str:
    _out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    return err


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """Kill the processes of a test that are still running at its end."""
    with ExitStack() as stack:
        yield stack


def six(processes: ExitStack, **how: Any) -> list[subprocess.Popen[str]]:
    return [start(processes, slot, LINES_EACH, **how) for slot in range(PROCESSES)]


def assert_all_whole(text: str) -> None:
    lines = [json.loads(line) for line in text.splitlines()]
    assert Counter(line["partisan.worker.slot"] for line in lines) == dict.fromkeys(
        range(PROCESSES), LINES_EACH
    )
    assert len({line["event.id"] for line in lines}) == PROCESSES * LINES_EACH
    assert all(line["error.stack_trace"].startswith("beginning ") for line in lines)
    assert all(line["error.stack_trace"].endswith(" end") for line in lines)


def test_every_line_of_six_processes_on_one_pipe_parses_though_its_reader_is_slow(processes):
    reading, writing = os.pipe()
    started = six(processes, stdout=writing)
    os.close(writing)
    begin_together(started)
    almost_full = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) - select.PIPE_BUF
    wait_until(lambda: waiting_in(reading) >= almost_full)  # all six are waiting to write, which tears lines

    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()

    assert_all_whole(text)
    assert max(len(line.encode()) for line in text.splitlines(keepends=True)) <= 4000


def test_every_line_of_six_processes_in_one_file_parses(processes, tmp_path):
    path = tmp_path / "partisan.log"
    started = six(processes, log_file=str(path))

    begin_together(started)
    assert [what_is_said_at_the_end(process) for process in started] == ["lost 0\n"] * PROCESSES
    assert_all_whole(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("log_format", "before", "error"),
    [
        *((log_format, (), "BrokenPipeError") for log_format in ("ecs", "json", "console")),
        ("ecs", ("sh", "-c", 'exec "$@" >&-', "sh"), "OSError"),
    ],
    ids=["ecs", "json", "console", "without standard output"],
)
def test_a_reader_that_goes_away_or_never_was_costs_lines_only(processes, log_format, before, error):
    reading, writing = os.pipe()
    process = start(processes, 0, 5, log_format, before=before, stdout=writing)
    os.close(writing)
    os.close(reading)

    begin_together([process])
    said = what_is_said_at_the_end(process)

    assert said.endswith("lost 5\n")
    assert said.count(f"A log line could not be written to standard output: {error}") == 1
