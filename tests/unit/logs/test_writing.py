"""Lines into files and pipes, also when those fail."""

import errno
import logging
import os
import sys
from pathlib import Path

import pytest

from django_partisan.logs import trouble
from django_partisan.logs.writing import AppendingHandler, LineHandler, StandardOutputHandler
from django_partisan.telemetry import bus


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def write(handler: LineHandler, message: str) -> None:
    handler.handle(logging.makeLogRecord({"msg": message, "levelno": logging.INFO}))


def test_lines_are_appended_to_what_the_file_holds(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("before\n")
    handler = AppendingHandler(path)

    write(handler, "wörds \ud800")
    handler.close()

    assert path.read_text() == "before\nwörds ?\n"


def test_a_line_after_closing_opens_the_file_again(tmp_path):
    handler = AppendingHandler(tmp_path / "a.log")

    for message in ("one", "two"):
        write(handler, message)
        handler.close()

    assert handler.path.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_was_rotated_is_opened_again_within_a_second(tmp_path, clock, is_replaced):
    handler = AppendingHandler(tmp_path / "a.log", clock)
    write(handler, "one")
    handler.path.rename(tmp_path / "a.log.1")
    if is_replaced:
        handler.path.touch()

    write(handler, "two")
    clock.now = 1.0
    write(handler, "three")
    handler.close()

    assert (tmp_path / "a.log.1").read_text() == "one\ntwo\n"
    assert handler.path.read_text() == "three\n"


def test_a_file_that_is_where_it_was_is_kept_open(tmp_path, clock):
    handler = AppendingHandler(tmp_path / "a.log", clock)
    write(handler, "one")
    before = handler._file

    clock.now = 5.0
    write(handler, "two")

    assert handler._file == before
    handler.close()


def test_when_a_rotated_file_cannot_be_opened_again_the_old_one_is_kept(tmp_path, clock, last_resort):
    folder = tmp_path / "logs"
    folder.mkdir()
    handler = AppendingHandler(folder / "a.log", clock)
    write(handler, "one")
    folder.rename(tmp_path / "moved")

    clock.now = 5.0
    write(handler, "two")
    handler.close()

    assert (tmp_path / "moved" / "a.log").read_text() == "one\ntwo\n"
    assert len(last_resort) == 1
    assert "could not be opened again" in last_resort[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_costs_lines_that_are_counted_and_reported_once(last_resort):
    handler = AppendingHandler("/dev/full")
    before = bus.swallowed["logs"]

    for _ in range(3):
        write(handler, "one")
    handler.close()

    assert bus.swallowed["logs"] == before + 3
    assert last_resort == [
        "A log line could not be written to /dev/full: OSError. For a minute, more are only counted."
    ]


def test_a_line_cut_short_by_a_full_disk_does_not_spoil_the_next(tmp_path, monkeypatch, last_resort):
    handler = AppendingHandler(tmp_path / "a.log")
    calls = iter([3, errno.ENOSPC])
    real_write = os.write

    def write_less(descriptor: int, data: bytes) -> int:
        step = next(calls, None)
        if step == errno.ENOSPC:
            raise OSError(step, "No space left on device")
        return real_write(descriptor, data[:step])

    monkeypatch.setattr("django_partisan.logs.writing.os.write", write_less)
    write(handler, "one")
    write(handler, "two")
    write(handler, "three")
    handler.close()

    assert handler.path.read_text() == "one\ntwo\nthree\n"
    assert len(last_resort) == 1


def test_a_write_that_takes_less_goes_on_with_the_rest(tmp_path, monkeypatch):
    handler = AppendingHandler(tmp_path / "a.log")
    real_write = os.write
    monkeypatch.setattr(
        "django_partisan.logs.writing.os.write", lambda descriptor, data: real_write(descriptor, data[:2])
    )

    write(handler, "one two three")
    handler.close()

    assert handler.path.read_text() == "one two three\n"


def test_a_line_goes_to_standard_output(capfd):
    write(StandardOutputHandler(), "one")

    assert capfd.readouterr().out == "one\n"


def test_without_a_standard_output_nothing_is_written_to_whatever_has_its_number(
    monkeypatch, capfd, last_resort
):
    monkeypatch.setattr(sys, "__stdout__", None)

    write(StandardOutputHandler(), "one")

    assert capfd.readouterr().out == ""
    assert last_resort == [
        "A log line could not be written to standard output: OSError. For a minute, more are only counted."
    ]


def test_a_record_that_cannot_be_formatted_is_counted(tmp_path, last_resort):
    handler = AppendingHandler(tmp_path / "a.log")
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",), "levelno": logging.INFO}))

    assert bus.swallowed["logs"] == 1
    assert len(last_resort) == 1


def test_each_trouble_is_reported_once_a_minute(monkeypatch, last_resort):
    now = [100.0]
    monkeypatch.setattr("django_partisan.logs.trouble.time.monotonic", lambda: now[0])

    for what, later in (("a", 0.0), ("b", 1.0), ("a", 59.0), ("a", 61.0)):
        now[0] = 100.0 + later
        trouble.note(what)

    assert [message[0] for message in last_resort] == ["a", "b", "a"]
    assert bus.swallowed["logs"] == 4


def test_trouble_without_a_handler_of_last_resort_is_counted(monkeypatch):
    monkeypatch.setattr(logging, "lastResort", None)

    trouble.note("a")

    assert bus.swallowed["logs"] == 1


def test_trouble_with_reporting_trouble_is_counted_too(monkeypatch):
    handler = logging.NullHandler()
    monkeypatch.setattr(handler, "handle", lambda record: [][0])
    monkeypatch.setattr(logging, "lastResort", handler)

    trouble.note("a")

    assert bus.swallowed["logs"] == 2
