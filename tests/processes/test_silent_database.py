"""The database stops answering or changes, and no socket reports it: the manager notices and recovers."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from tests.app import partisan_tasks as processors
from tests.support.database import first_value, session_ids, sessions, this_database
from tests.support.rows import number_of
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import let_pass, wait_until

from .managing import Bench, ManagerProcess
from .observability.scraping import address_of, get

CONNECTIONS = 4
GRACE_SECONDS = 5.0
"""The grace period beyond --stop-timeout that docs/running.md asks operators to allow."""
METRICS = ("--metrics-port", "0")
END_SESSIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND starts_with(application_name, 'django_partisan')
"""
OUTAGE = ("claim.failed", "task.settle_failed", "database.restored")


@pytest.fixture
def proxy(db: None) -> Iterator[TcpProxy]:
    with TcpProxy(int(first_value("SHOW port"))) as made:
        yield made


@pytest.fixture
def through(proxy: TcpProxy) -> dict[str, Any]:
    """Return database settings that connect through the proxy."""
    return {**this_database(), "HOST": "127.0.0.1", "PORT": str(proxy.port)}


def seconds_to_settle(number: int) -> float:
    """Enqueue a task, and return the seconds until it is settled."""
    before = number_of("finished")
    started = time.monotonic()
    processors.Pass(number).delay()
    wait_until(lambda: number_of("finished") > before, 60)
    return time.monotonic() - started


def is_ready(manager: ManagerProcess) -> bool:
    return get(address_of(manager), "/ready").status == 200


@pytest.mark.parametrize(("lease", "limit"), [(3, 6.0), (15, 5.0), (30, 10.0)])
def test_connections_that_a_router_forgot_are_replaced_within_a_third_of_the_lease(
    lease: int, limit: float, bench: Bench, proxy: TcpProxy, through: dict[str, Any]
):
    manager = bench.ready(database=through, LEASE_SECONDS=lease, SLEEP_DELAY_SECONDS=0.5)
    ordinary = max(seconds_to_settle(number) for number in range(3))

    proxy.abandon()
    seconds = seconds_to_settle(3)

    assert seconds < limit + 20 * ordinary
    assert len(manager.logged("claim.failed")) == len(manager.logged("database.restored")) == 1
    assert number_of("finished", attempts=1) == 4
    wait_until(lambda: sessions() == CONNECTIONS, what="the abandoned sessions were ended")
    assert manager.stop() == 0


def test_an_unresponsive_database_is_logged_once_and_makes_the_manager_unready_until_it_answers(
    bench: Bench, proxy: TcpProxy, through: dict[str, Any]
):
    manager = bench.ready(*METRICS, database=through, LEASE_SECONDS=6)
    processors.Wait("gate").delay()
    bench.wait_for("begun")
    wait_until(lambda: is_ready(manager))

    proxy.mode = "swallow"
    bench.open("gate")
    wait_until(lambda: not is_ready(manager))
    manager.wait_for("task.settle_failed")
    manager.wait_for("claim.failed")
    proxy.mode = "pass"
    wait_until(lambda: is_ready(manager))

    wait_until(lambda: number_of("finished", attempts=1) == 1)
    assert [len(manager.logged(action)) for action in OUTAGE] == [1, 1, 1]
    assert manager.stop() == 0


@pytest.mark.parametrize("runs", [False, True], ids=["idle", "while a task runs"])
def test_a_manager_stops_in_time_though_its_database_is_silent(
    runs: bool, bench: Bench, proxy: TcpProxy, through: dict[str, Any]
):
    manager = bench.ready("--stop-timeout", "2", *METRICS, database=through, LEASE_SECONDS=30)
    if runs:
        processors.Wait("gate").delay()
        bench.wait_for("begun")

    proxy.mode = "swallow"
    manager.send(signal.SIGTERM)
    started = time.monotonic()
    code = manager.ended(60)

    assert time.monotonic() - started < 2 + GRACE_SECONDS
    assert code == 1
    wait_until(manager.is_gone)
    assert "Traceback" not in manager.err()


def test_a_locked_table_is_an_outage_that_names_its_session_and_piles_up_no_sessions(bench: Bench):
    manager = bench.ready(LEASE_SECONDS=3, SLEEP_DELAY_SECONDS=0.2)
    seconds_to_settle(1)
    most = 0
    locker = psycopg2.connect(dbname=this_database()["NAME"])
    with locker, locker.cursor() as cursor:
        cursor.execute("LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE")
        until = time.monotonic() + 12
        while time.monotonic() < until:
            let_pass(0.2)
            most = max(most, sessions())
        [failed] = manager.logged("claim.failed")
        assert f"the table is locked by session {locker.info.backend_pid} " in failed["error.message"]
    locker.close()

    assert seconds_to_settle(2) < 10
    assert most == CONNECTIONS
    assert len(manager.logged("database.restored")) == 1
    assert manager.stop() == 0


def have_ended(used: set[int]) -> Callable[[], bool]:
    return lambda: used.isdisjoint(session_ids())


def test_connections_that_the_server_ended_while_they_were_idle_are_replaced_and_nothing_is_logged(
    bench: Bench,
):
    options = {**this_database().get("OPTIONS", {}), "options": "-c idle_session_timeout=1500"}
    manager = bench.ready(database={**this_database(), "OPTIONS": options}, SLEEP_DELAY_SECONDS=60)
    for number in range(3):
        seconds_to_settle(number)
        wait_until(have_ended(session_ids()), what="the server ended the sessions that were used")

    assert [manager.logged(action) for action in OUTAGE] == [[], [], []]
    assert [line for line in manager.out().splitlines() if '"log.level":"error"' in line] == []
    assert manager.stop() == 0


def test_after_a_change_of_roles_connections_to_a_standby_are_left(bench: Bench):
    manager = bench.ready(SLEEP_DELAY_SECONDS=0.2, LEASE_SECONDS=3)
    seconds_to_settle(1)
    name = this_database()["NAME"]
    # Committed before the sessions end, so that even a quick reconnection meets a standby.
    first_value(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on; SELECT 1')
    first_value(END_SESSIONS)
    manager.wait_for("claim.failed")
    let_pass(2.0)  # so that the manager connects to the standby repeatedly

    first_value(f'ALTER DATABASE "{name}" RESET default_transaction_read_only; SELECT 1')

    assert seconds_to_settle(2) < 10
    assert len(manager.logged("database.restored")) == 1
    assert manager.stop() == 0
