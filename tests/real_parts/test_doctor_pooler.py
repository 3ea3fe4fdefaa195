"""The doctor distinguishes a pooler in transaction mode from one in session mode: a real PgBouncer."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.real_parts.servers import HOST, free_port, listens
from tests.support.child import NotReady
from tests.support.commands import manage
from tests.support.waiting import wait_until


def pgbouncer() -> str:
    """Return the path of PgBouncer; raise with the command to install it if it is missing."""
    path = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        raise NotReady("pgbouncer is missing; on Debian: apt-get install pgbouncer")
    return path


@contextmanager
def pooler(mode: str, env: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run PgBouncer in front of PostgreSQL; yield an environment that connects through it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="partisan-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PgBouncer does not run as root, and must be able to read this folder
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={env['PGHOST']} port={env['PGPORT']}\n"
            f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder / 'users'}\npool_mode = {mode}\n"
            "query_wait_timeout = 3\nserver_login_retry = 1\nignore_startup_parameters = options\n"
        )
        who = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [pgbouncer(), "-q", *who, str(folder / "pgbouncer.ini")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: listens(port), 30, "PgBouncer listens", every=0.05)
                through = {**env, "PGHOST": HOST, "PGPORT": str(port)}
                through.pop("DATABASE_URL", None)  # it would take precedence
                yield through
            finally:
                process.terminate()


def findings(env: dict[str, str], check: str) -> list[dict[str, Any]]:
    """Return the doctor's findings of one check."""
    done = manage("partisan_doctor", "--json", env=env)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [found for found in json.loads(done.stdout)["findings"] if found["check"] == check]


def test_a_notification_arrives_without_a_pooler_and_through_one_in_session_mode(env: dict[str, str]) -> None:
    with pooler("session", env) as through:
        [direct], [pooled] = findings(env, "notifications"), findings(through, "notifications")

    assert direct["status"] == pooled["status"] == "fine"
    assert direct["message"] == "A notification arrives."
    assert pooled["message"] == "A notification arrives, through a pooler in session mode."


def test_a_pooler_in_transaction_mode_is_named_with_what_it_costs(env: dict[str, str]) -> None:
    with pooler("transaction", env) as through:
        lost, cursors = findings(through, "notifications")

    assert lost["status"] == cursors["status"] == "warning"
    assert "the connection goes through a pooler in transaction mode" in lost["message"]
    assert "DISABLE_SERVER_SIDE_CURSORS" in cursors["remedy"]
