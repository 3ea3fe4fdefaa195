"""Channels that write without blocking, and leave the shared file unchanged."""

import fcntl
import os
import pty
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from django_partisan.logs.channels import Channel, channel_to


@pytest.fixture
def closed_later() -> Iterator[ExitStack]:
    with ExitStack() as cleanup:
        yield cleanup


def opened(cleanup: ExitStack, kind: str) -> tuple[int, int]:
    """Return the reading and the writing end of a pipe, socket or terminal."""
    if kind == "socket":
        one, other = socket.socketpair()
        one.setblocking(True)
        other.setblocking(True)
        ends = one.detach(), other.detach()
    else:
        ends = os.pipe() if kind == "pipe" else pty.openpty()
    for end in ends:
        cleanup.callback(os.close, end)
    return ends


def is_nonblocking(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)


def fill(channel: Channel) -> None:
    with pytest.raises(BlockingIOError):
        while True:
            channel.write(b"x" * 4000)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_full_pipe_or_socket_refuses_instead_of_blocking_and_stays_as_its_other_users_expect(
    closed_later, kind
):
    reading, writing = opened(closed_later, kind)

    channel = channel_to(writing)
    closed_later.callback(channel.close)
    fill(channel)

    assert not channel.is_blocking
    assert not is_nonblocking(writing)
    assert set(os.read(reading, 4000)) == {ord("x")}


def test_a_default_timeout_of_the_hosts_sockets_does_not_change_the_shared_socket(closed_later):
    _, writing = opened(closed_later, "socket")
    closed_later.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
    socket.setdefaulttimeout(5.0)

    channel = channel_to(writing)
    closed_later.callback(channel.close)
    fill(channel)

    assert not is_nonblocking(writing)


def test_waiting_ends_when_the_reader_reads(closed_later):
    reading, writing = opened(closed_later, "pipe")
    channel = channel_to(writing)
    closed_later.callback(channel.close)
    fill(channel)

    os.read(reading, 65536)
    channel.wait()

    assert channel.write(b"one") == 3


def test_a_terminal_is_written_to_in_a_thread_since_it_takes_parts_of_lines(closed_later):
    _, writing = opened(closed_later, "terminal")

    assert channel_to(writing).is_blocking
    assert not is_nonblocking(writing)


def test_a_pipe_that_cannot_be_opened_again_is_written_to_in_a_thread(closed_later, tmp_path):
    reading, writing = opened(closed_later, "pipe")

    channel = channel_to(writing, str(tmp_path))

    assert channel.is_blocking
    assert channel.write(b"one") == 3
    assert os.read(reading, 10) == b"one"


def test_a_file_is_written_to_where_the_processes_that_share_it_stand(closed_later, tmp_path):
    path: Path = tmp_path / "out"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    closed_later.callback(os.close, fd)
    os.write(fd, b"before\n")

    channel = channel_to(fd)
    channel.write(b"one\n")

    assert not channel.is_blocking
    assert path.read_bytes() == b"before\none\n"
