"""A standard output that nobody reads, or a log handler that does not return, blocks nothing else."""

import fcntl
import json
import os
import pty
import select
import signal
import socket
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.rows import count_by_status
from tests.support.waiting import wait_until

from .managing import Bench, ManagerProcess

LONG_SECONDS = 60.0
LEASE_SECONDS = 3.0
TASKS = 300
"""Enough for more log lines than fit into a pipe of 64 KiB."""
FILLER = b"\n" * 4000
"""Empty lines, because a terminal may accept only part of a write."""


class Output:
    """A file to write to, and its other end, which reads on request."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        self.read = bytearray()

    def fill(self) -> None:
        """Write until no more bytes fit."""
        before = fcntl.fcntl(self.writing, fcntl.F_GETFL)
        fcntl.fcntl(self.writing, fcntl.F_SETFL, before | os.O_NONBLOCK)
        for size in (len(FILLER), 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(self.writing, FILLER[:size])
        fcntl.fcntl(self.writing, fcntl.F_SETFL, before)

    def is_blocking(self) -> bool:
        """Return whether writes to the file still block, as its other users expect."""
        return not fcntl.fcntl(self.writing, fcntl.F_GETFL) & os.O_NONBLOCK

    def read_on(self) -> None:
        """Read everything available."""
        while select.select([self.reading], [], [], 0)[0]:
            with suppress(OSError):  # a terminal whose other side no process has open
                if data := os.read(self.reading, 65536):
                    self.read += data
                    continue
            return

    def lines(self) -> list[str]:
        """Return the lines read so far, without the filler."""
        *lines, rest = self.read.decode().replace("\r\n", "\n").split("\n")
        assert rest == ""
        return [line for line in lines if line]

    def read_until(self, condition: Callable[[], bool]) -> None:
        """Read until ``condition`` holds."""

        def holds() -> bool:
            self.read_on()
            return condition()

        wait_until(holds, LONG_SECONDS, lambda: self.read.decode(errors="replace")[-3000:])

    def events(self) -> list[dict[str, Any]]:
        """Return the log events read so far; every line must be complete."""
        return [json.loads(line) for line in self.lines() if not line.startswith("Serving queue")]


def pipe() -> tuple[int, int]:
    return os.pipe()


def stream_socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def terminal() -> tuple[int, int]:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return ours, theirs


@pytest.fixture
def open_output() -> Iterator[Callable[[Callable[[], tuple[int, int]]], Output]]:
    """Return a function that opens an output of a given kind; both ends are closed after the test."""
    with ExitStack() as cleanup:

        def opened(kind: Callable[[], tuple[int, int]]) -> Output:
            ends = kind()
            for end in ends:
                cleanup.callback(os.close, end)
            return Output(*ends)

        yield opened


def heartbeats_go_on() -> None:
    """Wait for three heartbeats."""
    seen = {ManagerLease.objects.get().heartbeat_at}

    def are_three_more() -> bool:
        seen.add(ManagerLease.objects.get().heartbeat_at)
        return len(seen) > 3

    wait_until(are_three_more, LONG_SECONDS)


def run_tasks(number: int = TASKS) -> None:
    bulk_delay(processors.OneArgument(index) for index in range(number))
    wait_until(
        lambda: count_by_status().get("finished", 0) == number, LONG_SECONDS, lambda: f"{count_by_status()}"
    )
    Task.objects.all().delete()


def ended_reading(manager: ManagerProcess, output: Output) -> int:
    """Read until the manager has ended; return its exit code."""
    output.read_until(lambda: manager.process.poll() is not None)
    output.read_on()
    return manager.ended()


@pytest.mark.parametrize("kind", [pipe, stream_socket, terminal])
def test_a_full_output_stops_neither_tasks_nor_heartbeats_nor_the_end(bench: Bench, open_output, kind):
    output = open_output(kind)
    output.fill()
    manager = bench.start(output=output.writing, LEASE_SECONDS=LEASE_SECONDS)

    run_tasks()
    heartbeats_go_on()
    assert output.is_blocking()
    manager.send(signal.SIGTERM)

    assert manager.ended(LONG_SECONDS) == 0
    assert not ManagerLease.objects.exists()


@pytest.mark.parametrize("kind", [pipe, stream_socket, terminal])
def test_a_reader_that_pauses_misses_no_line(bench: Bench, open_output, kind):
    output = open_output(kind)
    output.fill()
    manager = bench.start(output=output.writing)

    run_tasks()
    output.read_until(lambda: output.read.count(b"task.completed") == TASKS)
    manager.send(signal.SIGTERM)
    assert ended_reading(manager, output) == 0

    actions = [event["event.action"] for event in output.events()]
    assert actions.count("task.completed") == TASKS
    assert actions.count("telemetry.dropped") == 0
    assert actions.count("worker.ready") == 2
    assert actions[-1] == "manager.stopped"


def test_what_is_more_than_the_buffer_holds_is_dropped_whole_and_reported(bench: Bench, open_output):
    output = open_output(pipe)
    output.fill()
    manager = bench.start(output=output.writing, WORKERS_COUNT=1, DELETE_TASKS_ON_COMPLETE=False)
    run_tasks(6000)

    output.read_until(lambda: b"telemetry.dropped" in output.read)
    run_tasks(1)
    manager.send(signal.SIGTERM)
    assert ended_reading(manager, output) == 0

    events = output.events()
    dropped = [event for event in events if event["event.action"] == "telemetry.dropped"]
    written = [event for event in events if event["event.action"] == "task.completed"]
    assert {event["event.reason"] for event in dropped} == {"log_output_stalled"}
    assert len(dropped) <= 2  # the first report, and the remainder at the end
    assert sum(event["partisan.telemetry.count"] for event in dropped) + len(written) == 6001
    assert len(written) < 6000


def test_a_handler_of_the_hosts_that_does_not_return_stops_no_manager(bench: Bench, open_output):
    output = open_output(pipe)
    output.fill()
    handlers = {"stuck": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}}
    logger = {"handlers": ["stuck"], "level": "DEBUG", "propagate": False}
    logging = {"version": 1, "handlers": handlers, "loggers": {"django_partisan.manager": logger}}
    manager = bench.start(
        "--log-format",
        "host",
        settings={"LOGGING": logging},
        output=output.writing,
        LEASE_SECONDS=LEASE_SECONDS,
    )

    run_tasks()
    heartbeats_go_on()
    manager.send(signal.SIGTERM)

    assert manager.ended(LONG_SECONDS) == 0
    assert not ManagerLease.objects.exists()


def test_what_tasks_printed_holds_up_no_worker_that_ends(bench: Bench, open_output):
    output = open_output(pipe)
    output.fill()
    buffered = {"PYTHONUNBUFFERED": ""}
    manager = bench.start(output=output.writing, variables=buffered, WORKERS_COUNT=1)
    processors.Print("one").delay()
    wait_until(lambda: count_by_status() == {"finished": 1}, LONG_SECONDS)

    manager.send(signal.SIGTERM)

    assert manager.ended(LONG_SECONDS) == 0
