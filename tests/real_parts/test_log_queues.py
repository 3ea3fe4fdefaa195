"""Full queues of a real rsyslog lose nothing: the shipped recipe, with limits that a test can reach."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from tests.real_parts.log_path import LogPath, Rsyslog, log_path
from tests.real_parts.opensearch import DataStream
from tests.support.waiting import let_pass, wait_until

LINES = 3_000
WAITING = 1_200
ROOM = 1_200
LIMIT = f'queue.size="{WAITING + ROOM}" queue.fullDelayMark="{WAITING}"'
LIMITS = {'queue.size="200000"': LIMIT, 'queue.size="1000000"': LIMIT}
"""Like the shipped limits, they leave room for lines that imfile has read when rsyslog stops: up to 1,024."""
PATIENCE_SECONDS = 3
"""rsyslog waits two seconds for room for a line, then discards it; this is longer."""


@pytest.fixture
def path(tmp_path: Path, env: dict[str, str], data_stream: DataStream) -> Iterator[LogPath]:
    """A log path with small queues, which has delivered one line."""
    with log_path(tmp_path, env, data_stream, partial(Rsyslog, limits=LIMITS)) as running:
        write(running, ["first"])
        running.wait_for_delivery()
        yield running


def write(path: LogPath, ids: list[str]) -> None:
    """Append a line for each id to the log file."""
    with path.log.open("a") as log:
        for key in ids:
            line = {"@timestamp": "2026-11-24T08:00:00.000Z", "message": "x" * 600, "event.id": key}
            log.write(f"{json.dumps(line)}\n")


def wait_until_full(path: LogPath) -> None:
    """Wait until the queue on disk is full, and for longer than rsyslog waits for room."""

    def waiting() -> int:
        files = (path.folder / "spool").glob("partisan.0*")
        return sum(file.read_text(errors="replace").count('"event.id"') for file in files)

    wait_until(lambda: waiting() >= WAITING, 30, lambda: f"{waiting()} lines", 0.1, waiting)
    let_pass(PATIENCE_SECONDS)
    assert waiting() <= WAITING + 1


def wait_until_nothing_is_sent(data_stream: DataStream) -> None:
    """Wait until no line has been refused for longer than rsyslog waits for room."""

    def is_silent() -> bool:
        before = data_stream.server.refused()
        let_pass(PATIENCE_SECONDS)
        return 0 < before == data_stream.server.refused()

    wait_until(is_silent, 60, "silence", progress=data_stream.server.refused)


def assert_each_line_is_one_document(path: LogPath) -> None:
    path.wait_for_delivery()
    assert path.target.stored() == path.lines()


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
def test_lines_wait_in_their_file_while_the_queue_is_full(
    path: LogPath, data_stream: DataStream, killed: bool
) -> None:
    data_stream.server.kill()
    write(path, [f"old {number}" for number in range(LINES)])
    wait_until_full(path)
    path.rotate()
    write(path, [f"new {number}" for number in range(LINES // 10)])
    if killed:
        path.shipper.kill()
        path.start_shipper()

    data_stream.server.start()
    began = monotonic()
    assert_each_line_is_one_document(path)

    print(f"{len(path.lines())} lines were stored {monotonic() - began:.0f} s after the server was back")


def test_a_restart_sends_what_filled_the_queue_of_refused_lines(
    path: LogPath, data_stream: DataStream
) -> None:
    data_stream.block_writes(True)
    write(path, [f"refused {number}" for number in range(LINES)])
    wait_until_nothing_is_sent(data_stream)
    data_stream.block_writes(False)

    path.shipper.stop()
    path.start_shipper()

    assert_each_line_is_one_document(path)
