"""The embedded server starts on demand and ends with its owner, however the owner ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.support.commands import ROOT, python
from tests.support.waiting import wait_until
from tools import database_url, postgres

OWNER = """\
import time
from tools import postgres
with postgres.server() as server:
    print(server.base, server.pid, server.port, flush=True)
    time.sleep(60)
"""


def query(url: str, statement: str = "SELECT 1") -> object:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A container may have no process that reaps orphans: a zombie counts as ended.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def run_command_line(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return python("-m", "tools.postgres", *arguments, env=without_a_chosen_server())


def without_a_chosen_server() -> dict[str, str]:
    chosen = ("DATABASE_URL", *database_url.LIBPQ_PLACES)
    return {name: value for name, value in os.environ.items() if name not in chosen}


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        yield process
        process.kill()


def started(owner: subprocess.Popen[str]) -> tuple[Path, int]:
    assert owner.stdout is not None
    base, pid, _port = owner.stdout.readline().split()
    return Path(base), int(pid)


def test_it_takes_connections_by_tcp_and_by_unix_socket_and_leaves_nothing():
    with postgres.server() as server:
        pid = server.pid
        assert pid is not None
        assert query(server.url) == query(server.socket_url) == 1
        assert query(server.url, "SHOW fsync") == "off"
    assert not server.base.exists()
    wait_until(lambda: not is_alive(pid))


@pytest.mark.parametrize(
    ("signum", "is_frozen"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGKILL, False), (signal.SIGKILL, True)],
)
def test_it_is_gone_after_a_signal_ends_its_owner_even_if_it_is_frozen(
    owner: subprocess.Popen[str], signum: signal.Signals, is_frozen: bool
):
    base, pid = started(owner)
    if is_frozen:
        os.kill(pid, signal.SIGSTOP)
    owner.send_signal(signum)
    assert owner.wait(20) != 0
    wait_until(lambda: not base.exists())
    wait_until(lambda: not is_alive(pid))


def test_two_live_side_by_side_and_are_gone_after_an_exception():
    with pytest.raises(RuntimeError, match="boom"), postgres.server() as one, postgres.server() as other:
        assert query(one.url, "SHOW port") != query(other.url, "SHOW port")
        raise RuntimeError("boom")
    assert not one.base.exists()
    assert not other.base.exists()


def test_it_stops_and_starts_on_the_same_address():
    with postgres.server() as server:
        query(server.url, "CREATE TABLE kept ()")
        server.stop()
        with pytest.raises(psycopg2.OperationalError):
            query(server.url)
        server.start()
        assert query(server.url, "SELECT count(*) FROM kept") == 0


def test_a_durable_one_keeps_what_was_committed_before_it_is_killed():
    with postgres.server(durable=True) as server:
        query(server.url, "CREATE TABLE kept (id integer)")
        busy = psycopg2.connect(server.url)  # a backend that outlives the postmaster for a moment
        query(server.url, "INSERT INTO kept VALUES (1)")
        server.kill()
        assert server.pid is None
        server.start()
        assert query(server.url, "SELECT count(*) FROM kept") == 1
        busy.close()


def test_a_wrong_setting_is_named_and_leaves_nothing():
    wrong = postgres.server(settings={"no_such_setting": "it's"})
    with pytest.raises(postgres.ServerError, match="no_such_setting"):
        wrong.__enter__()


def test_a_server_that_the_user_chose_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/name")
    with postgres.environment() as variables:
        assert variables == {}


def test_the_command_line_runs_a_command_on_a_server_of_its_own():
    done = run_command_line("run", "--", "sh", "-c", "echo $DATABASE_URL; exit 7")
    assert done.returncode == 7
    assert done.stdout.startswith("postgresql://postgres@127.0.0.1:")


def test_the_command_line_passes_signals_on():
    done = run_command_line("run", "--", "sh", "-c", "kill -TERM $PPID; exec sleep 20")
    assert done.returncode == 128 + signal.SIGTERM
