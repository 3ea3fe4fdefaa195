"""Lines to files and pipes, including failing ones."""

import errno
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from django_partisan.logs import write_errors
from django_partisan.logs.handlers import (
    AppendingHandler,
    LineHandler,
    StandardStreamHandler,
)
from django_partisan.telemetry import swallowed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def handler(tmp_path: Path, clock: Clock) -> Iterator[AppendingHandler]:
    (tmp_path / "logs").mkdir()
    made = AppendingHandler(tmp_path / "logs" / "a.log", clock)
    yield made
    made.close()


def write(handler: LineHandler, message: str) -> None:
    handler.handle(logging.makeLogRecord({"msg": message, "levelno": logging.INFO}))


def test_lines_are_appended_to_what_the_file_holds(handler):
    handler.path.write_text("before\n")

    write(handler, "wörds \ud800")

    assert handler.path.read_text() == "before\nwörds ?\n"


def test_a_line_after_closing_opens_the_file_again(handler):
    for message in ("one", "two"):
        write(handler, message)
        handler.close()

    assert handler.path.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_was_rotated_is_opened_again_within_a_second(handler, clock, is_replaced):
    write(handler, "one")
    moved = handler.path.rename(handler.path.with_suffix(".1"))
    if is_replaced:
        handler.path.touch()

    write(handler, "two")
    clock.now = 1.0
    write(handler, "three")

    assert moved.read_text() == "one\ntwo\n"
    assert handler.path.read_text() == "three\n"


def test_a_file_that_is_where_it_was_is_kept_open(handler, clock, monkeypatch):
    write(handler, "one")
    monkeypatch.setattr(os, "open", pytest.fail)

    clock.now = 5.0
    write(handler, "two")

    assert handler.path.read_text() == "one\ntwo\n"


def test_when_a_rotated_file_cannot_be_opened_again_the_old_one_is_kept(handler, clock, last_resort):
    write(handler, "one")
    moved = handler.path.parent.rename(handler.path.parent.with_name("moved"))

    clock.now = 5.0
    write(handler, "two")

    assert (moved / handler.path.name).read_text() == "one\ntwo\n"
    (reported,) = last_resort
    assert "could not be opened again" in reported


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_costs_lines_that_are_counted_and_reported_once(last_resort):
    handler = AppendingHandler("/dev/full")

    for _ in range(3):
        write(handler, "one")
    handler.close()

    assert swallowed.counts["logs"] == 3
    assert last_resort == [
        "A log line could not be written to /dev/full: OSError. More are only counted for a minute."
    ]


def test_a_line_cut_short_by_a_full_disk_does_not_spoil_the_next(handler, monkeypatch, last_resort):
    calls = iter([3, errno.ENOSPC])
    real_write = os.write

    def write_less(descriptor: int, data: bytes) -> int:
        step = next(calls, None)
        if step == errno.ENOSPC:
            raise OSError(step, "No space left on device")
        return real_write(descriptor, data[:step])

    monkeypatch.setattr(os, "write", write_less)
    for message in ("one", "two", "three"):
        write(handler, message)

    assert handler.path.read_text() == "one\ntwo\nthree\n"
    assert len(last_resort) == 1


def test_a_write_that_takes_less_goes_on_with_the_rest(handler, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:2]))

    write(handler, "one two three")

    assert handler.path.read_text() == "one two three\n"


def test_a_line_goes_to_standard_output(capfd):
    write(StandardStreamHandler(1), "one")

    assert capfd.readouterr().out == "one\n"


def test_without_a_standard_output_nothing_is_written_to_whatever_has_its_number(
    monkeypatch, capfd, last_resort
):
    monkeypatch.setattr(sys, "__stdout__", None)

    write(StandardStreamHandler(1), "one")

    assert capfd.readouterr().out == ""
    assert last_resort == [
        "A log line could not be written to standard output: OSError. More are only counted for a minute."
    ]


def test_a_record_that_cannot_be_formatted_is_counted(handler, last_resort):
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",), "levelno": logging.INFO}))

    assert swallowed.counts["logs"] == len(last_resort) == 1


def test_each_trouble_is_reported_once_a_minute(monkeypatch, last_resort):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    for what, later in (("a", 0.0), ("b", 1.0), ("a", 30.0), ("a", 59.0), ("a", 61.0)):
        now[0] = 100.0 + later
        write_errors.note(what)

    assert [message[0] for message in last_resort] == ["a", "b", "a"]
    assert swallowed.counts["logs"] == 5


def test_trouble_without_a_handler_of_last_resort_is_counted(monkeypatch):
    monkeypatch.setattr(logging, "lastResort", None)

    write_errors.note("a")

    assert swallowed.counts["logs"] == 1


def test_trouble_with_reporting_trouble_is_counted_too(monkeypatch):
    monkeypatch.setattr(logging, "lastResort", SimpleNamespace(handle=lambda record: [][0]))

    write_errors.note("a")

    assert swallowed.counts["logs"] == 2


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_fifo_without_a_reader_costs_lines_and_blocks_nobody(fifo, last_resort):
    handler = AppendingHandler(fifo)

    write(handler, "lost")
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write(handler, "read")

    assert os.read(reading, 100) == b"read\n"
    os.close(reading)
    handler.close()
    assert swallowed.counts["logs"] == len(last_resort) == 1


def test_lines_for_a_fifo_whose_reader_stalls_are_kept(fifo):
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    handler = AppendingHandler(fifo)
    for _ in range(100):
        handler.write_line("x" * 3999)

    assert not handler.writer.drain(0.0)
    read = 0
    while read < 400_000:
        with suppress(BlockingIOError):
            read += len(os.read(reading, 65536))
    assert handler.writer.drain(20.0)

    handler.close()
    os.close(reading)


def test_standard_error_takes_warnings_as_the_handler_of_last_resort_does(capfd):
    handler = StandardStreamHandler(2)

    logger = logging.getLogger("django_partisan.any")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    for level in (logging.INFO, logging.WARNING):
        logger.log(level, "at %s", logging.getLevelName(level))
    handler.close()

    assert capfd.readouterr() == ("", "at WARNING\n")


def test_a_standard_output_that_was_closed_is_opened_again(capfd):
    handler = StandardStreamHandler(1)

    for message in ("one", "two"):
        write(handler, message)
        handler.close()

    assert capfd.readouterr().out == "one\ntwo\n"
