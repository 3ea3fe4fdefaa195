"""Start, stop and kill a temporary server."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from tools.marks import unmarked

from . import watchdog
from .programs import Programs, account, find, within_reach

HOST = "127.0.0.1"
USER = DATABASE = "postgres"

SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "200",
}
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

# Below Linux's range for outgoing connections, so that no client takes the port of a server while it is
# briefly down.
PORTS = range(20_000, 32_000)

# The path of a unix socket has at most about 100 characters; PostgreSQL adds "/.s.PGSQL.12345" to the folder.
LONGEST_BASE = 80

START_SECONDS = 30.0
PORT_TAKEN = "Address already in use"
# A new server refuses to start until the last backend of a killed one has ended.
STILL_DYING = "is still in use"


class ServerError(Exception):
    """The server could not be started, stopped or killed."""


class Server:
    """A server in its own folder, reachable by TCP on the loopback interface and by a unix socket."""

    def __init__(self, programs: Programs, base: Path, settings: Mapping[str, str]) -> None:
        self.port = 0
        self.base = base
        self._programs = programs
        self._data = base / "data"
        self._log = base / "server.log"
        self._create(settings)

    @property
    def url(self) -> str:
        """The URL of the server by TCP."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{DATABASE}"

    @property
    def socket_url(self) -> str:
        """The URL of the server by unix socket."""
        return f"postgresql://{USER}@/{DATABASE}?{urlencode({'host': self.base, 'port': self.port})}"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None while the server is down."""
        return watchdog.postmaster(self._data)

    def env(self) -> dict[str, str]:
        """Return the variables by which Django and all clients of libpq connect to this server."""
        return {
            "DATABASE_URL": self.url,
            "PGHOST": HOST,
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGDATABASE": DATABASE,
        }

    @property
    def log_path(self) -> Path:
        """The file that the server logs to."""
        return self._log

    def log(self) -> str:
        """Return the text that the server has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start the server, on the same port as before, and wait until it accepts connections."""
        deadline = time.monotonic() + START_SECONDS
        choose_port = self.port == 0
        while True:
            if choose_port:
                self.port = free_port()
            complaint = self._try_to_start()
            if complaint is None:
                return
            worth_another_try = PORT_TAKEN in complaint or STILL_DYING in complaint
            if not worth_another_try or time.monotonic() > deadline:
                raise ServerError(f"PostgreSQL does not start:\n{complaint}")
            time.sleep(0.1)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server in one of pg_ctl's modes; its data is kept."""
        done = self._pg_ctl("stop", "-m", mode)
        if done.returncode != 0:
            raise ServerError(f"PostgreSQL does not stop:\n{done.stdout}")

    def kill(self) -> None:
        """Kill the postmaster with SIGKILL, as in a crash.

        Its backends keep running until they notice, and only start() frees its shared memory.
        """
        pid = self.pid
        if pid is None:
            raise ServerError("the server is already down")
        os.kill(pid, signal.SIGKILL)
        while self.pid == pid:
            time.sleep(0.005)

    def _create(self, settings: Mapping[str, str]) -> None:
        # Every local user may connect: the server is for temporary data on a private machine.
        initdb = ["-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = self._programs.run("initdb", *initdb, cwd=self.base)
        if done.returncode != 0:
            raise ServerError(f"initdb failed:\n{done.stdout}")
        with (self._data / "postgresql.conf").open("a") as file:
            for name, value in settings.items():
                file.write(f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n")

    def _try_to_start(self) -> str | None:
        if self.pid is None:
            # If no process reaps orphans, a killed server stays a zombie, which PostgreSQL considers alive.
            # Backends that are still alive are found without these files, by their shared memory.
            for lock in (self._data / "postmaster.pid", self.base / f".s.PGSQL.{self.port}.lock"):
                lock.unlink(missing_ok=True)
        seen = len(self.log())
        done = self._pg_ctl("start", "-l", str(self._log), "-o", f"-p {self.port}")
        return None if done.returncode == 0 else done.stdout + self.log()[seen:]

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._programs.run("pg_ctl", "-w", "-D", str(self._data), *arguments, cwd=self.base)


@contextmanager
def server(
    *, durable: bool = False, settings: Mapping[str, str] | None = None, major: int | None = None
) -> Iterator[Server]:
    """Run a temporary server for the length of a `with` block.

    By default it is fast and loses data in a crash; tests of crashes need `durable`. `settings` are settings
    of postgresql.conf.
    """
    programs = find(major)
    with _guarded_folder() as base:
        configuration = {
            **SETTINGS,
            "unix_socket_directories": str(base),
            **(DURABLE if durable else FAST),
            **(settings or {}),
        }
        own = Server(within_reach(programs, base), base, configuration)
        own.start()
        yield own


@contextmanager
def _guarded_folder() -> Iterator[Path]:
    """Create a folder; a watchdog stops its server and removes it, however this process ends."""
    base = _make_folder()
    guard = subprocess.Popen(
        [sys.executable, "-I", watchdog.__file__, str(base), str(os.getpid())],
        env=unmarked(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield base
    finally:
        # Write something instead of only closing the pipe: a forked child may hold a copy of this end.
        guard.communicate(b"done")
        if base.exists():  # the watchdog was killed
            watchdog.clean_up(base)


def _make_folder() -> Path:
    for parent in (None, "/tmp"):  # the second is short and open to every account
        base = Path(tempfile.mkdtemp(prefix="partisan-pg-", dir=parent)).resolve()
        if as_account := account():
            os.chown(base, as_account["user"], as_account["group"])
        if len(str(base)) <= LONGEST_BASE and _is_reachable(base):
            return base
        shutil.rmtree(base)
    raise ServerError("neither the temporary folder nor /tmp has a short path that the server can use")


def _is_reachable(folder: Path) -> bool:
    try:
        return (
            subprocess.run(["/bin/sh", "-c", "test -w ."], cwd=folder, check=False, **account()).returncode
            == 0
        )
    except PermissionError:
        return False


def free_port() -> int:
    """Return a port that is free and outside the range of outgoing connections."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
