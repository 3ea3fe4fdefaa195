"""The fork server answers each request, and its manager learns why a start failed."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_partisan.engine.forkserver.channel import START, WAIT, Channel
from django_partisan.engine.forkserver.server import next_worker
from django_partisan.engine.forkserver.worker_source import ForkServer, launch

ENDING_PROJECT = """
from tests.settings import *
import os
os._exit(3)
"""
CHATTY_PROJECT = """
from tests.settings import *
import atexit, sys
print("loaded with", sys.argv[0])
"""


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    """Return the manager's end of a channel, and the fork server's."""
    ours, theirs = socket.socketpair()
    ends = Channel(ours), Channel(theirs)
    yield ends
    for end in ends:
        end.close()


def _answers(manager: Channel) -> Iterator[Any]:
    while True:
        try:
            yield manager.receive(0.01)[0]
        except TimeoutError:
            return


def test_each_request_is_answered_under_its_number(
    channels: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
):
    manager, theirs = channels
    read_end, write_end = os.pipe()
    monkeypatch.setattr(os, "fork", lambda: 4711)
    with subprocess.Popen(["false"]) as child:
        manager.send((1, START, ("partisan-mail-1", b"spec")), [write_end])
        os.close(write_end)
        manager.send((2, WAIT, child.pid))
        manager.send((3, WAIT, child.pid))  # unknown: it has been reaped
        manager.send((4, START, ("partisan-mail-2", b"last")))
        monkeypatch.setattr(os, "fork", iter([4711, 0]).__next__)

        worker = next_worker(theirs, can_fork=True)
        child.returncode = 1

    assert list(_answers(manager)) == [(1, 4711, 0), (2, 1, 0), (3, None, 0)]
    assert worker == ("partisan-mail-2", b"last", [])
    assert os.read(read_end, 1) == b""  # the server keeps no descriptor of a worker
    os.close(read_end)


def test_a_process_that_cannot_fork_becomes_the_first_worker(channels: tuple[Channel, Channel]):
    manager, theirs = channels
    manager.send((0, START, ("partisan-mail-1", b"spec")))

    assert next_worker(theirs, can_fork=False) == ("partisan-mail-1", b"spec", [])
    assert list(_answers(manager)) == []


def test_a_fork_that_fails_is_answered_with_its_error(
    channels: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
):
    manager, theirs = channels

    def fail() -> int:
        raise OSError(errno.EAGAIN, "too many processes")

    monkeypatch.setattr(os, "fork", fail)
    manager.send((1, START, ("partisan-mail-1", b"spec")))
    manager.send((2, WAIT, 1))  # not a child
    manager.close()

    with pytest.raises(EOFError):
        next_worker(theirs, can_fork=True)


class AnsweringServer(ForkServer):
    """A client whose fork server has given an answer."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(preload=False)
        self._process = subprocess.Popen(["sleep", "60"])
        self._channel = channel


def test_an_error_of_the_fork_is_raised(channels: tuple[Channel, Channel]):
    source = AnsweringServer(channels[0])
    channels[1].send((1, None, errno.EAGAIN))

    with pytest.raises(OSError, match="the fork server cannot fork: Resource") as found:
        source.start("worker", b"", [])

    assert found.value.errno == errno.EAGAIN
    source.cancel()
    source.close()


@pytest.mark.slow
def test_a_server_that_only_closes_its_channel_is_named(channels: tuple[Channel, Channel]):
    source = AnsweringServer(channels[0])
    channels[1].close()

    with pytest.raises(ChildProcessError, match=r"^the fork server closed its channel before it forked"):
        source.start("worker", b"", [])

    source.cancel()
    source.close()


def test_no_program_to_start_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = os.listdir("/proc/self/fd")

    with pytest.raises(FileNotFoundError):
        launch(preload=False, can_fork=True)

    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.slow
def test_a_project_that_ends_the_fork_server_is_an_error_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "ending_project.py").write_text(ENDING_PROJECT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "ending_project")
    source = ForkServer(preload=True)

    with pytest.raises(
        ChildProcessError, match=r"^the fork server ended with exit code 3 before it forked the worker"
    ):
        source.start("worker", b"", [])

    source.close()


@pytest.mark.slow
def test_the_project_is_loaded_with_the_managers_arguments_and_its_output_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "chatty_project.py").write_text(CHATTY_PROJECT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "chatty_project")
    monkeypatch.setattr(sys, "argv", ["/srv/shop/manage.py", "start_partisan"])
    source = ForkServer(preload=True)

    for _ in range(2):
        source.start("worker", b"not a spec", [0, 0, 0, 0])
    source.close()

    assert capfd.readouterr().out == "loaded with /srv/shop/manage.py\n"
