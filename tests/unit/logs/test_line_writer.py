"""Lines to a reader that stalls: kept in order, resumed where they were cut, dropped only as a whole."""

import errno
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from django_partisan.logs import dropped
from django_partisan.logs.channels import Channel, channel_to
from django_partisan.logs.line_writer import LineWriter
from django_partisan.telemetry import swallowed
from tests.support.waiting import wait_until

PATIENCE = 20.0


class Pipe:
    """A pipe with a line writer, and the data read from it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.channel = channel_to(self.writing)
        os.set_blocking(self.reading, False)
        self.read = b""

    def fill(self) -> None:
        with pytest.raises(BlockingIOError):
            while True:
                self.channel.write(b"#" * 4095 + b"\n")

    def lines(self) -> list[str]:
        """Return the lines that can be read now, without the filler."""
        try:
            while data := os.read(self.reading, 65536):
                self.read += data
        except BlockingIOError:
            pass
        return [line for line in self.read.decode().splitlines() if line.strip("#")]

    def wait_for(self, number: int) -> list[str]:
        wait_until(lambda: len(self.lines()) >= number, PATIENCE)
        return self.lines()

    def close_reader(self) -> None:
        os.close(self.reading)
        self.reading = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    for fd in {made.reading, made.writing, made.channel.fd} - {-1}:
        os.close(fd)


def writer_to(channel: Channel, **how: int) -> LineWriter:
    return LineWriter(lambda: channel, "somewhere", **how)


def scripted(write: Callable[[bytes], int], is_blocking: bool = False) -> LineWriter:
    """Return a writer whose channel is not a file."""
    return writer_to(Channel(0, write, is_blocking))


@pytest.fixture(autouse=True)
def nothing_dropped_yet() -> Iterator[None]:
    dropped.taken()
    yield
    dropped.taken()


def test_lines_that_nobody_reads_are_kept_and_come_in_order_when_the_reader_reads(pipe):
    writer = writer_to(pipe.channel)
    pipe.fill()

    lines = [f"{number} " + "x" * 1000 for number in range(200)]
    for line in lines:
        writer.write(line)

    assert not writer.drain(0.0)
    assert pipe.wait_for(200) == lines
    assert writer.drain(PATIENCE)
    assert dropped.taken() == {}


def test_a_line_longer_than_the_pipe_is_resumed_where_it_was_cut(pipe):
    writer = writer_to(pipe.channel)
    lines = ["a" * 200_000, "b"]

    for line in lines:
        writer.write(line)

    assert pipe.wait_for(2) == lines


def test_lines_after_the_stall_are_written_at_once_again(pipe):
    writer = writer_to(pipe.channel)
    pipe.fill()
    writer.write("one")
    pipe.wait_for(1)
    assert writer.drain(PATIENCE)

    writer.write("two")

    assert pipe.lines() == ["one", "two"]


def test_what_exceeds_the_buffer_is_dropped_and_counted(pipe):
    writer = writer_to(pipe.channel, buffer_bytes=10)
    pipe.fill()

    for line in ("1234", "5678", "9", "0"):
        writer.write(line)

    assert dropped.taken() == {"log_output_stalled": 2}
    assert pipe.wait_for(2) == ["1234", "5678"]


def test_what_is_given_up_at_the_end_is_counted(pipe):
    writer = writer_to(pipe.channel)
    pipe.fill()
    for line in ("x" * 4000, "y" * 4000):
        writer.write(line)
    wait_until(lambda: len(writer._kept) == 1, PATIENCE)  # the thread holds the other one

    writer.drop_kept()
    writer.drop_kept()

    assert dropped.taken() == {"log_output_stalled": 1}
    assert pipe.wait_for(1) == ["x" * 4000]
    assert writer.drain(PATIENCE)


def test_where_writing_blocks_a_thread_does_it():
    may_write, written = threading.Event(), []

    def write(data: bytes) -> int:
        assert may_write.wait(PATIENCE)
        written.append((data, threading.current_thread().name))
        return len(data)

    writer = scripted(write, is_blocking=True)
    for line in ("one", "two"):
        writer.write(line)
    assert not writer.drain(0.0)
    may_write.set()
    assert writer.drain(PATIENCE)
    writer.write("three")
    assert writer.drain(PATIENCE)

    assert b"".join(data for data, _ in written) == b"one\ntwo\nthree\n"
    assert {name for _, name in written} == {"partisan-log-output"}


def test_a_reader_that_goes_away_in_a_stall_costs_lines_only(pipe, last_resort):
    writer = writer_to(pipe.channel)
    pipe.fill()
    for line in ("one", "two"):
        writer.write(line)

    pipe.close_reader()
    assert writer.drain(PATIENCE)

    with pytest.raises(BrokenPipeError):
        writer.write("three")
    assert swallowed.counts["logs"] == 2
    assert last_resort == [
        "A log line could not be written to somewhere: BrokenPipeError. More are only counted for a minute."
    ]


def test_a_kept_line_that_is_cut_by_an_error_does_not_spoil_the_next(last_resort):
    written = bytearray()
    answers: Iterator[int] = iter([2, errno.EAGAIN, 1, errno.ENOSPC])

    def write(data: bytes) -> int:
        answer = next(answers, len(data))
        if answer == errno.EAGAIN:
            raise BlockingIOError
        if answer == errno.ENOSPC:
            raise OSError(answer, "No space left on device")
        written.extend(data[:answer])
        return min(answer, len(data))

    read_end, write_end = os.pipe()  # the descriptor waited on; it is writable
    writer = writer_to(Channel(write_end, write))
    writer.write("abcdef")
    assert writer.drain(PATIENCE)
    writer.write("next")
    os.close(read_end)
    os.close(write_end)

    assert bytes(written) == b"abc\nnext\n"
    assert swallowed.counts["logs"] == 1


def test_a_cut_line_is_ended_also_when_the_next_has_to_be_kept(last_resort):
    written = bytearray()
    calls = iter(["cut", "fail", "full"])

    def write(data: bytes) -> int:
        call = next(calls, "write")
        if call == "full":
            raise BlockingIOError
        if call == "fail":
            raise OSError(errno.ENOSPC, "No space left on device")
        written.extend(data[:2] if call == "cut" else data)
        return 2 if call == "cut" else len(data)

    writer = scripted(write)
    with pytest.raises(OSError, match="No space"):
        writer.write("abcdef")
    writer.write("next")
    assert writer.drain(PATIENCE)

    assert bytes(written) == b"ab\nnext\n"


def test_a_line_that_the_thread_could_not_finish_does_not_spoil_the_next(last_resort):
    written = bytearray()
    answers: Iterator[int] = iter([2, 0])

    def write(data: bytes) -> int:
        answer = next(answers, len(data))
        if answer == 0:
            raise OSError(errno.EIO, "Input/output error")
        written.extend(data[:answer])
        return answer

    writer = scripted(write, is_blocking=True)
    for line in ("abcdef", "next"):
        writer.write(line)
        assert writer.drain(PATIENCE)

    assert bytes(written) == b"ab\nnext\n"


def test_a_log_call_while_a_line_is_written_waits_for_nothing():
    written: list[bytes] = []

    def write(data: bytes) -> int:
        if not written:  # as a signal handler in the same thread may do
            written.append(b"")
            writer.write("inner")
        written.append(data)
        return len(data)

    writer = scripted(write)
    writer.write("outer")

    assert written == [b"", b"inner\n", b"outer\n"]


def test_a_file_is_not_closed_while_lines_are_kept_for_it(pipe):
    writer = writer_to(pipe.channel)
    closed: list[str] = []
    pipe.fill()
    writer.write("one")

    writer.close(lambda: closed.append("too early"))
    pipe.wait_for(1)
    assert writer.drain(PATIENCE)
    writer.close(lambda: closed.append("closed"))

    assert closed == ["closed"]


def test_a_thread_that_died_is_replaced(pipe, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    written: list[bytes] = []
    calls = iter([RuntimeError("a bug")])

    def write(data: bytes) -> int:
        for error in calls:
            raise error
        written.append(data)
        return len(data)

    writer = scripted(write, is_blocking=True)
    writer.write("one")
    assert writer.drain(PATIENCE)
    assert writer._thread is not None
    writer._thread.join(PATIENCE)
    writer.write("two")
    assert writer.drain(PATIENCE)

    assert written == [b"two\n"]


def test_a_forked_process_leaves_kept_lines_to_its_parent(pipe):
    writer = writer_to(pipe.channel)
    pipe.fill()
    writer.write("parent's")

    child = os.fork()
    if child == 0:  # pragma: no cover: child process
        writer.write("child's")
        os._exit(0 if writer.drain(PATIENCE) else 1)
    lines = pipe.wait_for(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert sorted(lines) == ["child's", "parent's"]
