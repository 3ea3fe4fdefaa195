"""Managers with their own host names, which are restarted when they end, and their processes in /proc."""

import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from . import journal, settings_names
from .plan import ManagerPlan

ROOT = Path(__file__).resolve().parents[2]
RESTART_SECONDS = 0.5
POLL_SECONDS = 0.05
FORK_SERVER = "django_partisan.engine.forkserver"


@dataclass(frozen=True)
class Process:
    """A process in /proc."""

    pid: int
    parent: int
    command: str


def group_of(leader: int) -> list[Process]:
    """Return the processes of a process group, without zombies."""
    return [process for process, group in _processes() if group == leader]


def _processes() -> Iterator[tuple[Process, int]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if fields[0] not in "ZX":
            yield Process(int(folder.name), int(fields[1]), command), int(fields[2])


@functools.cache
def has_host_names() -> bool:
    """Return whether processes can have their own host names, which requires root."""
    try:
        asked = subprocess.run(["unshare", "--uts", "hostname", "probe"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return asked.returncode == 0


def on_host(host: str, command: list[str]) -> list[str]:
    """Return a command line that runs a command with a host name and keeps the process id."""
    if not has_host_names():
        return command
    return ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host, *command]


def environment(
    folder: Path,
    database: Mapping[str, Any],
    queue: Mapping[str, Any],
    schedules: Mapping[str, Any] = MappingProxyType({}),
    clock_off_seconds: float = 0.0,
) -> dict[str, str]:
    """Return the variables of a process of the trial, whose clock differs by some seconds."""
    chosen = {
        "DATABASES": {"default": database},
        "PARTISAN_CONFIG": {"default": queue},
        "PARTISAN_SCHEDULES": dict(schedules),
        "CLOCK_OFF_SECONDS": clock_off_seconds,
    }
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        "DJANGO_SETTINGS_MODULE": settings_names.MODULE,
        settings_names.CHOSEN: json.dumps(chosen),
        journal.FOLDER: str(folder),
        "PYTHONFAULTHANDLER": "1",
    }


class ManagerProcess:
    """One `start_partisan` process, the leader of its own process group."""

    def __init__(self, host: str, variables: dict[str, str], output: Path) -> None:
        command = [sys.executable, "-m", "django", "start_partisan", "--log-format", "ecs"]
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                on_host(host, command), cwd=ROOT, env=variables, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.output = output
        self.started_at = journal.now()
        self.ended_at: float | None = None

    @property
    def pid(self) -> int:
        """The manager's process id, which is also its group's."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """True until the manager itself has ended; its workers may still be alive."""
        if self.process.poll() is None:
            return True
        if self.ended_at is None:
            self.ended_at = journal.now()
        return False

    def fork_server(self) -> Process | None:
        """Return the process from which the workers are forked."""
        return next((one for one in self._forked() if one.parent == self.pid), None)

    def workers(self) -> list[Process]:
        """Return the workers, in the order of their ids."""
        return sorted((one for one in self._forked() if one.parent != self.pid), key=lambda one: one.pid)

    def _forked(self) -> list[Process]:
        return [one for one in group_of(self.pid) if FORK_SERVER in one.command and one.pid != self.pid]

    def destroy(self) -> None:
        """Kill the manager and all its processes."""
        for process in group_of(self.pid):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class ManagerSlot:
    """The place of one manager. When the manager ends, a new one is started."""

    plan: ManagerPlan
    variables: dict[str, str]
    output: Path
    all: list[ManagerProcess] = field(default_factory=list)

    @property
    def current(self) -> ManagerProcess | None:
        """The live manager, if there is one."""
        return self.all[-1] if self.all and self.all[-1].is_alive else None


class Supervisor:
    """All slots, and a thread that restarts managers that have ended, like a supervisor."""

    def __init__(self, slots: list[ManagerSlot]) -> None:
        self.slots = slots
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start a manager in every slot, and the thread that restarts them."""
        for slot in self.slots:
            self._fill(slot)
        self._thread.start()

    def all(self) -> list[ManagerProcess]:
        """Return every manager that was started."""
        return [manager for slot in self.slots for manager in slot.all]

    def alive(self) -> list[ManagerProcess]:
        """Return the live managers."""
        return [manager for manager in self.all() if manager.is_alive]

    def end(self) -> None:
        """Start no more managers, and ask the live ones to drain."""
        self._ending.set()
        self._thread.join()
        for manager in self.alive():
            manager.process.send_signal(signal.SIGTERM)

    def destroy(self) -> None:
        """Kill all managers and their processes."""
        self._ending.set()
        for manager in self.all():
            manager.destroy()

    def _supervise(self) -> None:
        while not self._ending.wait(POLL_SECONDS):
            for slot in self.slots:
                last = slot.all[-1]
                if not last.is_alive and journal.now() - (last.ended_at or 0.0) >= RESTART_SECONDS:
                    self._fill(slot)

    def _fill(self, slot: ManagerSlot) -> None:
        slot.all.append(ManagerProcess(slot.plan.host, slot.variables, slot.output))


def resume(pid: int) -> None:
    """Resume a stopped process, if it still exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def is_locked(path: Path) -> bool:
    """Return whether a process has locked a file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_while(condition: Any, seconds: float) -> bool:
    """Wait until a condition is false; return False after the timeout."""
    deadline = time.monotonic() + seconds
    while condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
