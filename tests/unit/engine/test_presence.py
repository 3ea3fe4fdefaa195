"""Presence files show reliably which processes have ended, what they had begun, and what live ones run."""

import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_partisan.engine import pages
from django_partisan.engine.liveness import (
    Liveness,
    begun_if_dead,
    dead_managers_of,
    is_dead,
    read_liveness,
    remove_stale_files,
)
from django_partisan.engine.pages import PAGE_BYTES, Page
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.exceptions import CannotStart
from tests.support.waiting import wait_until

NOBODY = Page(0, 0, 0.0, 0.0)

MANAGER = """
import sys, uuid
from django_partisan.engine.presence import PresenceFile, WorkerPage
file = PresenceFile(uuid.UUID(sys.argv[1]), 3)
for slot in (0, 2):
    WorkerPage(file.fd, slot).begin(70 + slot, 1.0)
WorkerPage(file.fd, 1).idle(1.0)
print("here", flush=True)
sys.stdin.read()
"""
TREE = """
import os, signal, sys, uuid
from django_partisan.engine.presence import PresenceFile, WorkerPage
file = PresenceFile(uuid.UUID(sys.argv[1]), 3)
begun, begins = os.pipe()
workers = []
for slot in (0, 2):
    pid = os.fork()
    if not pid:
        page = WorkerPage(file.fd, slot)
        page.begin(70 + slot, 1.0)
        os.write(begins, b"!")
        signal.pause()
    workers.append(pid)
    os.read(begun, 1)
print(os.getpid(), *workers, flush=True)
signal.pause()
"""
READ_LIVENESS = """
import sys, uuid
from django_partisan.engine.liveness import read_liveness
print(read_liveness(uuid.UUID(sys.argv[1])))
"""
WORKER = """
import sys
from django_partisan.engine.presence import WorkerPage
page = WorkerPage(0, 1)
page.busy_seconds = 1.0
while True:
    page.begin(7, 5.0)
    page.busy_seconds = 2.0
    for _ in range(200):
        pass
    page.idle(6.0)
    page.busy_seconds = 1.0
"""


@contextmanager
def _manager(name: uuid.UUID) -> Iterator[None]:
    """Run a process that holds a presence file; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", MANAGER, str(name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _tree(name: uuid.UUID) -> Iterator[list[int]]:
    """Run a manager and the workers of slots 0 and 2; yield their process ids."""
    with subprocess.Popen(
        [sys.executable, "-c", TREE, str(name)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield [int(text) for text in process.stdout.readline().split()]
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_page_says_what_its_worker_runs_until_it_is_idle_or_cleared(presence: PresenceFile):
    first, second = WorkerPage(presence.fd, 0), WorkerPage(presence.fd, 1)
    first.begin(41, since=100.0)
    second.begin(42, since=200.0)
    first.busy_seconds = 3.5
    first.begin(43, since=103.5)

    assert presence.page(0) == Page(begun=2, task_id=43, since=103.5, busy_seconds=3.5)
    assert presence.page(1) == Page(begun=1, task_id=42, since=200.0, busy_seconds=0.0)

    first.idle(since=105.0)
    presence.clear(1)

    assert presence.page(0) == Page(begun=2, task_id=0, since=105.0, busy_seconds=3.5)
    assert presence.page(1) == NOBODY


def test_a_file_that_cannot_be_made_is_refused_with_the_remedy(presence: PresenceFile):
    name = uuid.UUID(presence.path.stem)

    with pytest.raises(
        CannotStart, match=rf"{presence.path} cannot be created: File exists\. Free space there, or set"
    ):
        PresenceFile(name, 2)


def test_a_reader_never_sees_a_mixture_of_two_writes(presence: PresenceFile):
    begun, idle = (7, 5.0, 1.0), (0, 6.0, 2.0)
    with subprocess.Popen([sys.executable, "-c", WORKER], stdin=presence.fd) as worker:
        try:
            while presence.page(1).begun == 0:
                assert worker.poll() is None
            seen = [presence.page(1) for _ in range(20_000)]
        finally:
            worker.kill()

    assert {page[1:] for page in seen} <= {begun, idle}
    assert [page.begun for page in seen] == sorted(page.begun for page in seen)
    assert seen[0].begun < seen[-1].begun


def test_a_page_whose_writer_died_in_the_middle_says_nothing(presence: PresenceFile):
    os.pwrite(presence.fd, struct.pack("=QqddQ", 6, 41, 100.0, 0.0, 4), PAGE_BYTES)

    assert presence.page(1) == NOBODY


@pytest.mark.usefixtures("temporary_folder")
def test_a_process_tree_is_proven_dead_when_no_process_holds_its_file():
    name = uuid.uuid4()

    with _manager(name):
        assert not is_dead(name)
        with begun_if_dead(name) as begun:
            assert begun is None

    assert is_dead(name)
    with begun_if_dead(name) as begun:
        assert begun == [70, 72]


@pytest.mark.usefixtures("temporary_folder")
def test_a_look_shows_who_of_a_manager_and_its_workers_lives_and_what_they_run():
    name = uuid.uuid4()

    with _tree(name) as (manager, first, third):
        assert read_liveness(name) == Liveness(True, running=[70, 72], begun=[])
        _kill(first)
        wait_until(lambda: read_liveness(name) == Liveness(True, running=[72], begun=[70]))
        _kill(manager)
        wait_until(lambda: read_liveness(name) == Liveness(False, running=[72], begun=[70]))
        assert not is_dead(name)
        _kill(third)
        wait_until(lambda: is_dead(name))
        assert read_liveness(name) == Liveness(False, running=[], begun=[70, 72])

    with begun_if_dead(name) as begun:
        assert begun == [70, 72]
    assert read_liveness(name) is None


def test_a_look_at_a_file_of_this_process_shows_itself_alive_and_costs_it_no_lock(presence: PresenceFile):
    name = uuid.UUID(presence.path.stem)
    page = WorkerPage(presence.fd, 1)
    page.begin(41, since=1.0)

    assert read_liveness(name) == Liveness(True, running=[41], begun=[])
    assert not is_dead(name)
    os.utime(presence.path, (1_000_000_000.0, 1_000_000_000.0))
    remove_stale_files()
    other = subprocess.run(
        [sys.executable, "-c", READ_LIVENESS, str(name)],
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "manager_lives=True, running=[41]" in other.stdout


def test_everybody_of_an_earlier_version_lives_while_one_does(presence: PresenceFile):
    name = uuid.uuid4()
    path = presence.path.with_name(f"{name}.lock")
    path.write_bytes(pages.pack(2, 41, 1.0, 0.0, 2).ljust(PAGE_BYTES, b"\0") + bytes(PAGE_BYTES))

    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read_liveness(name) == Liveness(True, running=[41], begun=[])

    assert is_dead(name)
    assert read_liveness(name) == Liveness(False, running=[], begun=[41])


def test_the_slot_of_a_worker_that_retires_is_free_for_the_next(presence: PresenceFile):
    script = "import sys; from django_partisan.engine.presence import WorkerPage; WorkerPage(0, 0)"
    page = WorkerPage(presence.fd, 0)

    def take_slot() -> int:
        return subprocess.run(
            [sys.executable, "-c", script], stdin=presence.fd, capture_output=True
        ).returncode

    assert take_slot() != 0
    page.leave_slot()
    assert take_slot() == 0


def test_the_lease_stands_where_an_earlier_version_reads_a_slot_that_runs_nothing(presence: PresenceFile):
    first, second = WorkerPage(presence.fd, 0), WorkerPage(presence.fd, 1)

    presence.extend_lease(123.5)

    assert first.lease_until() == second.lease_until() == 123.5
    assert presence.path.stat().st_size == 3 * PAGE_BYTES
    assert presence.page(2) == Page(begun=0, task_id=0, since=123.5, busy_seconds=0.0)
    assert (presence.page(0), presence.page(1)) == (NOBODY, NOBODY)


def test_each_heartbeat_makes_the_file_young_for_programs_that_clean_temporary_folders(
    presence: PresenceFile,
):
    os.utime(presence.path, (0, 0))

    presence.extend_lease(1.0)

    status = presence.path.stat()
    assert min(status.st_atime, status.st_mtime) > time.time() - 60


@pytest.mark.usefixtures("temporary_folder")
def test_dead_files_are_found_by_the_database_of_their_manager(temporary_folder: Path):
    mine, other = bytes(range(16)), bytes(16)
    files = [PresenceFile(uuid.uuid4(), 1, database) for database in (mine, mine, other)]
    living, dead, elsewhere = (uuid.UUID(file.path.stem) for file in files)
    for file in files[1:]:
        file.close()
    (files[0].path.parent / "nothing.lock").touch()
    (files[0].path.parent / f"{uuid.uuid4()}.lock").touch()

    found = dead_managers_of(mine)
    files[0].path.parent.chmod(0o755)

    assert found == [dead]
    assert dead_managers_of(mine) == []
    files[0].close()
    assert living != elsewhere


@pytest.mark.usefixtures("temporary_folder")
def test_before_the_first_heartbeat_there_is_no_lease():
    file = PresenceFile(uuid.uuid4(), 1)

    assert WorkerPage(file.fd, 0).lease_until() == 0.0
    file.remove()


@pytest.mark.usefixtures("temporary_folder")
def test_the_file_stays_until_one_manager_has_rescued_the_tasks():
    name = uuid.uuid4()
    with _manager(name):
        pass

    with pytest.raises(ConnectionError), begun_if_dead(name):
        raise ConnectionError("the database is away")
    with begun_if_dead(name) as mine, begun_if_dead(name) as others:
        assert mine is not None
        assert others is None
        assert not is_dead(name)
    assert not is_dead(name)


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["no file", "a folder that went bad"])
def test_a_file_that_cannot_be_seen_proves_nothing(mode: int, presence: PresenceFile):
    presence.path.parent.chmod(mode)

    with begun_if_dead(uuid.uuid4()) as begun:
        assert begun is None
    assert not is_dead(uuid.uuid4())
    assert read_liveness(uuid.uuid4()) is None
    presence.path.parent.chmod(0o700)


@pytest.mark.usefixtures("presence")
def test_a_manager_that_died_before_it_had_pages_had_begun_nothing(temporary_folder: Path):
    name = uuid.uuid4()
    [folder] = temporary_folder.iterdir()
    (folder / f"{name}.lock").touch()

    assert is_dead(name)
    assert read_liveness(name) == Liveness(False, [], [])
    with begun_if_dead(name) as begun:
        assert begun == []


def test_presence_files_are_for_their_user_alone(presence: PresenceFile):
    assert stat.S_IMODE(presence.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(presence.path.parent.stat().st_mode) == 0o700


def test_a_folder_that_others_may_enter_is_refused(temporary_folder: Path):
    folder = temporary_folder / f"django-partisan-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)

    with pytest.raises(CannotStart, match=f"{folder} must be a folder that only this user can access"):
        PresenceFile(uuid.uuid4(), 1)


def test_no_folder_at_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))

    with pytest.raises(CannotStart, match="Set TMPDIR to a folder that this user can write to"):
        PresenceFile(uuid.uuid4(), 1)


def test_files_that_the_dead_left_long_ago_are_removed(presence: PresenceFile):
    long_ago = 1_000_000_000.0
    folder = presence.path.parent
    dead, recent, foreign = (folder / f"{name}.lock" for name in (uuid.uuid4(), uuid.uuid4(), "no-uuid"))
    for path in (dead, recent, foreign):
        path.touch()
    for path in (dead, foreign, presence.path):
        os.utime(path, (long_ago, long_ago))

    remove_stale_files()

    assert not dead.exists()
    assert recent.exists()
    assert foreign.exists()
    assert presence.path.exists()
