"""PgBouncer between one manager and the server, if it is installed."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tools.postgres.programs import account
from tools.postgres.server import HOST, USER, free_port

START_SECONDS = 10.0
SBIN = "/usr/sbin"
NOT_INSTALLED = "PgBouncer is not installed; on Debian: apt-get install pgbouncer"

CONFIGURATION = """\
[databases]
* = host={host} port={server_port} user={user}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = 30
max_client_conn = 300
query_wait_timeout = 3
server_login_retry = 1
ignore_startup_parameters = extra_float_digits,options
logfile = {log}
"""


def find() -> str | None:
    """Return the program, or `None` if it is not installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path=SBIN)


class Pooler:
    """One PgBouncer, which can be killed and restarted on the same port."""

    def __init__(self, program: str, folder: Path, server_port: int, mode: str) -> None:
        self.port = free_port()
        self._program = program
        folder.mkdir()
        self._configuration = folder / "pgbouncer.ini"
        users = folder / "users.txt"
        users.write_text(f'"{USER}" ""\n')
        self._configuration.write_text(
            CONFIGURATION.format(
                host=HOST, server_port=server_port, user=USER, port=self.port, users=users, mode=mode,
                log=folder / "pgbouncer.log",
            )
        )  # fmt: skip
        folder.chmod(0o777)  # it runs as the account of PostgreSQL, not as root
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._process = subprocess.Popen(
            [self._program, str(self._configuration)], cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account(),
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
