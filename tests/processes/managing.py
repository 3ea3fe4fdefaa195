"""Start real managers, observe them and their workers, and send them signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.app import journal
from tests.processes.forking import FAULT_HANDLER, ForkedProcess, can_fork, fork
from tests.support.commands import ROOT, manage
from tests.support.database import empty, this_database
from tests.support.progress import progress_of
from tests.support.waiting import PATIENCE_SECONDS, wait_until


class Process(NamedTuple):
    """A process as shown in /proc; ``state`` is one letter."""

    pid: int
    parent: int
    group: int
    state: str
    command: str


def processes(group: int | None = None) -> Iterator[Process]:
    """Yield every process of this machine, or of a process group, that is not a zombie."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            # Checked first: reading the files of every process takes a hundred times as long.
            if group is not None and os.getpgid(pid) != group:
                continue
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # the process ended in between
        if fields[0] not in "ZX":
            yield Process(pid, int(fields[1]), int(fields[2]), fields[0], command)


def are_suspended(pids: Iterable[int]) -> bool:
    """Return whether every thread of these processes is stopped; ``kill()`` returns before that."""
    try:
        stats = [stat.read_text() for pid in pids for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # a thread ended in between
    return all(stat.rpartition(")")[2].split()[0] in "TZX" for stat in stats)


class JsonLines:
    """A growing file of JSON lines; each line is parsed once, however often the file is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._lines: list[dict[str, Any]] = []

    def lines_so_far(self) -> list[dict[str, Any]]:
        """Return the complete lines, or an empty list if the file does not exist yet."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                complete, end, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        if end:
            self._lines += map(json.loads, complete.split(b"\n"))
            self._read += len(complete) + 1
        return self._lines

    def clear(self) -> None:
        """Remove the file and the lines read; later lines belong to a new file."""
        self._path.unlink(missing_ok=True)
        self._read, self._lines = 0, []


class ManagerProcess:
    """A ``start_partisan`` command in its own process group."""

    def __init__(
        self,
        options: tuple[str, ...],
        environment: dict[str, str],
        folder: Path,
        tree: Path = ROOT,
        output: int | None = None,
    ) -> None:
        number = len(list(folder.glob("*.out")))
        self._out = folder / f"{number}.out"
        self._err = folder / f"{number}.err"
        self._log = JsonLines(self._out)
        arguments = ("tests.manage", "start_partisan", *options)
        # A fork of the template differs from what --autoreload would start again.
        forks = tree == ROOT and output is None and "--autoreload" not in options and can_fork(environment)
        self.process: ForkedProcess | subprocess.Popen[bytes]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            if forks:
                self.process = fork(arguments, environment, out, err)
                return
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=tree,
                env=environment,
                start_new_session=True,
                stdout=out if output is None else output,
                stderr=err if output is None else output,
            )

    @property
    def pid(self) -> int:
        """The manager's process id, which is also its process group's id."""
        return self.process.pid

    def out(self) -> str:
        """Return the text written to standard output."""
        return self._out.read_text()

    def err(self) -> str:
        """Return the text written to standard error."""
        return self._err.read_text()

    def logged(self, action: str) -> list[dict[str, Any]]:
        """Return the log events with this action so far."""
        return [event for event in self._log.lines_so_far() if event.get("event.action") == action]

    def wait_for(
        self, action: str, count: int = 1, seconds: float = PATIENCE_SECONDS
    ) -> list[dict[str, Any]]:
        """Wait until there are ``count`` log events with this action, and return them."""
        wait_until(
            lambda: len(self.logged(action)) >= count,
            seconds,
            lambda: f"{count} x {action}\n{self}",
            progress=progress_of(self._pids, seconds),
        )
        return self.logged(action)

    def __str__(self) -> str:
        code, states = self.process.poll(), [(one.pid, one.state) for one in self.process_tree()]
        return f"{self.out()}\n{self.err()}\nexit code {code}, alive: {states}"

    def process_tree(self) -> list[Process]:
        """Return the processes of the group: the manager, the fork server, the workers."""
        return list(processes(self.pid))

    def _pids(self) -> list[int]:
        return [process.pid for process in self.process_tree()]

    def workers(self) -> list[int]:
        """Return the process ids of the live workers."""
        alive = {process.pid for process in self.process_tree()}
        started = [event["partisan.worker.pid"] for event in self.logged("worker.started")]
        return [pid for pid in started if pid in alive]

    def fork_server(self) -> int:
        """Return the process id of the fork server, the parent of every worker."""
        worker = self.workers()[0]
        [parent] = [process.parent for process in self.process_tree() if process.pid == worker]
        return parent

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the manager alone; after SIGSTOP, wait until all its threads are suspended."""
        self.process.send_signal(number)
        if number is signal.SIGSTOP:
            wait_until(lambda: are_suspended([self.pid]), what="the manager is suspended")

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to the manager and every process of its group, as a terminal does.

        After SIGSTOP, wait until all their threads are suspended; then no process starts any more.
        """
        os.killpg(self.pid, number)
        if number is signal.SIGSTOP:
            wait_until(lambda: are_suspended(self._pids()), what="the group is suspended")

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until the manager has ended; return its exit code."""
        wait_until(
            lambda: self.process.poll() is not None,
            seconds,
            lambda: f"its end\n{self}",
            progress=progress_of(self._pids, seconds),
        )
        return self.process.wait()

    def stop(self) -> int:
        """Stop the manager with SIGTERM; return its exit code."""
        self.send(signal.SIGTERM)
        return self.ended()

    def is_gone(self) -> bool:
        """Return whether every process of the group has ended."""
        return self.process.poll() is not None and not self.process_tree()

    def destroy(self) -> None:
        """Kill every process of the group."""
        for process in self.process_tree():
            with suppress(ProcessLookupError):  # it ended by itself, or together with the one before
                os.kill(process.pid, signal.SIGKILL)
        wait_until(self.is_gone, what="every process of a manager is gone")


class Bench:
    """A folder, a database and managers, for one test or for the tests of one module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = Path(
            tempfile.mkdtemp(prefix="p-")
        )  # paths of pytest's folders are too long for sockets
        self.managers: list[ManagerProcess] = []
        self._journal = JsonLines(folder / journal.NAME)

    def start(
        self,
        *options: str,
        database: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        variables: dict[str, str] | None = None,
        tree: Path = ROOT,
        output: int | None = None,
        **queue: Any,
    ) -> ManagerProcess:
        """Start a manager; ``queue`` are settings of its queue, ``settings`` any other Django settings.

        ``tree`` is the folder from which the code is imported. ``output`` is a descriptor for standard output
        and error; the manager's ``out()`` and ``err()`` are then empty.
        """
        name = options[options.index("--queue-name") + 1] if "--queue-name" in options else "default"
        partisan = {"default": {}, name: {"WORKERS_COUNT": 2, **queue}}
        chosen = {"PARTISAN_CONFIG": partisan, **(settings or {})}
        environment = self.environment(database, chosen) | (variables or {})
        manager = ManagerProcess(("--log-format", "ecs", *options), environment, self.folder, tree, output)
        self.managers.append(manager)
        return manager

    def environment(self, database: dict[str, Any] | None, settings: dict[str, Any]) -> dict[str, str]:
        """Return the environment variables for a process on this bench."""
        chosen = {"DATABASES": {"default": database or this_database()}, **settings}
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
            "TEST_SETTINGS": json.dumps(chosen),
            **FAULT_HANDLER,
            "TMPDIR": str(self.temporary),
            journal.FOLDER: str(self.folder),
        }

    def manage(
        self, *command: str, database: dict[str, Any] | None = None, **settings: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a management command until it exits."""
        return manage(*command, env=self.environment(database, settings))

    def ready(self, *options: str, **queue: Any) -> ManagerProcess:
        """Start a manager, and wait until every worker is ready."""
        manager = self.start(*options, **queue)
        manager.wait_for("worker.ready", queue.get("WORKERS_COUNT", 2))
        return manager

    def presence(self) -> Path:
        """Return the folder of the presence files."""
        return self.temporary / f"django-partisan-{os.getuid()}"

    def journal(self, what: str | None = None, **more: Any) -> list[dict[str, Any]]:
        """Return the journal's lines that match, in order."""
        lines = self._journal.lines_so_far()
        wanted = {**more, **({} if what is None else {"what": what})}
        return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]

    def wait_for(
        self, what: str, count: int = 1, seconds: float = PATIENCE_SECONDS, **more: Any
    ) -> list[dict[str, Any]]:
        """Wait until ``count`` matching lines are in the journal, and return them."""

        def awaited() -> str:
            said = "\n".join(map(str, self.managers))
            return f"{count} x {what} {more}; the journal has {self.journal()}\n{said}"

        def pids() -> list[int]:
            return [process.pid for manager in self.managers for process in manager.process_tree()]

        wait_until(
            lambda: len(self.journal(what, **more)) >= count,
            seconds,
            awaited,
            progress=progress_of(pids, seconds),
        )
        return self.journal(what, **more)

    def open(self, gate: str) -> None:
        """Open a gate, so that the tasks waiting at it continue."""
        (self.folder / gate).touch()

    def clear_journal(self) -> None:
        """Clear the journal; the gates stay as they are."""
        self._journal.clear()

    def clear(self) -> None:
        """Clear the journal and close the gates."""
        self.clear_journal()
        for path in self.folder.iterdir():
            if path.is_file() and path.suffix not in (".out", ".err"):
                path.unlink()

    def destroy(self) -> None:
        """End every running manager, and remove the temporary folder."""
        for manager in self.managers:
            manager.destroy()
        shutil.rmtree(self.temporary)


TABLES = (
    "django_partisan_task",
    "django_partisan_manager",
    "django_partisan_pause",
    "django_partisan_cancel_request",
    "django_partisan_chore",
    "django_partisan_schedule",
    "app_note",
)


@contextmanager
def bench_on_empty_tables(folder: Path) -> Iterator[Bench]:
    """Return a bench; at the end, every manager started on it is ended and every row deleted."""
    made = Bench(folder)
    empty(*TABLES)
    try:
        yield made
    finally:
        made.destroy()
        empty(*TABLES)
