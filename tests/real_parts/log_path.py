"""The path of a log line: a real manager's log file, a real rsyslog, and the server that stores documents."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from tests.support.child import Child, NotReady
from tests.support.commands import MANAGE, ROOT
from tests.support.progress import descendants, progress_of
from tests.support.waiting import wait_until

ELK = ROOT / "elk"
ENQUEUE: Final = "tests.real_parts.live_project.enqueue"
LOG_FOLDER = "/var/log/partisan"
WORK_FOLDER = "/var/spool/rsyslog"
PORT = 'serverport="9200"'
STREAM = "logs-partisan.events-default"
OUTAGE_SECONDS: Final = float(os.environ.get("PARTISAN_OUTAGE_SECONDS", "3"))
"""How long the server is down; the recipes were tested with 120."""
RUN_SECONDS: Final = 300
"""The time limit for programs that take a second on an idle machine."""
NO_LIMITS: Final[Mapping[str, str]] = MappingProxyType({})
"""No further replacements in the recipe."""


class Target(Protocol):
    """The receiver of documents of one data stream: a server, or a stand-in that fails on demand."""

    stream: str

    @property
    def url(self) -> str:
        """The URL of the receiver."""

    @property
    def port(self) -> int:
        """The port of the receiver."""

    def ids(self) -> Set[str]:
        """Return the ids of the stored documents."""

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return the stored documents by id."""

    def received(self) -> object:
        """Return a value that changes with each document that arrives, whether it is stored or refused."""


def rsyslogd() -> str:
    """Return the path of the rsyslog program; raise with the command to install it if it is missing."""
    path = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        raise NotReady("rsyslogd is missing; on Debian: apt-get install rsyslog rsyslog-elasticsearch")
    return path


def recipe(folder: Path, port: int, stream: str = STREAM) -> str:
    """Return the recipe with the test's folders, port and data stream, and nothing else changed."""
    text = (ELK / "rsyslog" / "partisan.conf").read_text()
    for old, new in (
        (LOG_FOLDER, str(folder / "log")),
        (WORK_FOLDER, str(folder / "spool")),
        (PORT, f'serverport="{port}"'),
        (STREAM, stream),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


class Rsyslog(Child):
    """A real rsyslog that runs only the recipe."""

    def __init__(self, folder: Path, target: Target, limits: Mapping[str, str] = NO_LIMITS) -> None:
        self.pidfile = folder / "rsyslog.pid"
        config = folder / "rsyslog.conf"
        text = recipe(folder, target.port, target.stream)
        for old, new in limits.items():
            assert old in text
            text = text.replace(old, new)
        config.write_text(text)
        command = [rsyslogd(), "-n", "-f", str(config), "-i", str(self.pidfile)]
        super().__init__("rsyslog", command, folder)
        wait_until(self.pidfile.exists, 30, "rsyslog's pid file")

    def kill(self) -> None:
        """Kill rsyslog, as in a crash."""
        super().kill()
        self.pidfile.unlink(missing_ok=True)


class LogPath:
    """A log folder, a target, and the processes that write lines and ship them."""

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        target: Target,
        closing: ExitStack,
        shipper: Callable[[Path, Target], Child] = Rsyslog,
    ) -> None:
        self.folder = folder
        self.log = folder / "log" / "partisan.log"
        self.env = env
        self.enqueued = 0
        self.target = target
        self._closing = closing
        self._progress = progress_of(lambda: descendants(os.getpid()), 30)
        self._kind = shipper
        for name in ("log", "spool"):
            (folder / name).mkdir()
        self.shipper = self.start_shipper()

    def start_shipper(self) -> Child:
        """Start the shipper, or restart it after it has ended."""
        self.shipper = self._kind(self.folder, self.target)
        self._closing.callback(self.shipper.stop)
        return self.shipper

    def start_manager(self, queue: str) -> Child:
        """Start a manager that writes ECS lines to the log file."""
        options = ["--queue-name", queue, "--workers-count", "2", "--log-format", "ecs"]
        command = [*MANAGE, "start_partisan", *options, "--log-file", str(self.log)]
        manager = Child(f"manager-{queue}", command, self.folder, self.env)
        self._closing.callback(manager.stop)
        return manager

    def enqueue(self, processor: str, count: int) -> None:
        """Enqueue ``count`` tasks of one processor."""
        self.run(sys.executable, "-m", ENQUEUE, processor, str(count))
        self.enqueued += count

    def run(self, *command: str) -> None:
        """Run a program until it exits."""
        subprocess.run(command, env=self.env, cwd=ROOT, check=True, timeout=RUN_SECONDS)

    def rotate(self) -> None:
        """Rename the log file, as logrotate does."""
        self.log.rename(f"{self.log}.1")

    def rotate_under_load(self) -> None:
        """Rename the log file, and enqueue until the manager and its workers have begun a new one."""
        self.rotate()
        wait_until(self._is_written_again, 30, "the new file", 0.1, self._progress)

    def lines(self) -> dict[str, dict[str, Any]]:
        """Return every complete line written, by its ``event.id``."""
        texts = (path.read_text() for path in self.log.parent.glob("partisan.log*"))
        lines = [json.loads(line) for text in texts for line in text.split("\n")[:-1]]
        assert len({line["event.id"] for line in lines}) == len(lines)
        return {line["event.id"]: line for line in lines}

    def wait_for_lines(self, action: str, count: int) -> None:
        """Wait until ``count`` lines with an action are written."""

        def number() -> int:
            return [line.get("event.action") for line in self.lines().values()].count(action)

        wait_until(lambda: number() >= count, 30, f"{count} x {action}", 0.1, self._progress)

    def wait_for_delivery(self) -> None:
        """Wait until the target has a document for every line written."""
        ids = self.lines().keys()

        def awaited() -> str:
            missing = [self.lines()[key] for key in ids - self.target.ids()]
            kept = {path.name: path.stat().st_size for path in (self.folder / "spool").iterdir()}
            state = self.shipper.process.poll()
            found = f"{len(missing)} are missing, such as {missing[:3]}; spool: {kept}"
            return f"{len(ids)} documents; {found}; exit code {state}; {self.shipper.log_end()}"

        # A shipper that was killed first sends what is stored already.
        wait_until(lambda: ids <= self.target.ids(), 30, awaited, 0.1, self.target.received)

    def _is_written_again(self) -> bool:
        self.enqueue("Touch", 10)  # each process checks once a second, and only when it writes a line
        return self.log.exists()


@contextmanager
def log_path(
    folder: Path,
    env: Mapping[str, str],
    target: Target,
    shipper: Callable[[Path, Target], Child] = Rsyslog,
) -> Iterator[LogPath]:
    """Run a shipper, by default rsyslog; everything started is stopped at the end."""
    with ExitStack() as closing:
        yield LogPath(folder, env, target, closing, shipper)
