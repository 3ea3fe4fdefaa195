"""Behind PgBouncer in transaction mode: other clients' commits are flushed; a crash that nobody notices."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.processes.own_database import OwnDatabase, own_database
from tests.support.child import NotReady
from tests.support.waiting import wait_until
from tools import database_url, postgres
from tools.chaos.pooler import NOT_INSTALLED, Pooler, find


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnDatabase]:
    with postgres.server(durable=True) as server, own_database(server, tmp_path) as made:
        yield made


@pytest.fixture
def pooled(own: OwnDatabase) -> Iterator[str]:
    """The URL of the database through PgBouncer."""
    program = find()
    if program is None:
        raise NotReady(NOT_INSTALLED)
    pooler = Pooler(program, own.bench.temporary / "pooler", own.server.port, "transaction")
    own.bench.temporary.chmod(0o755)
    pooler.start()
    yield own.server.url.replace(str(own.server.port), str(pooler.port))
    pooler.stop()


class OtherClient:
    """A client of the same pooler that repeatedly asks whether its commits are flushed."""

    def __init__(self, url: str) -> None:
        self.found: list[str] = []
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(url,))
        self._thread.start()

    def _ask(self, url: str) -> None:
        with closing(psycopg2.connect(url)) as connected:
            connected.autocommit = True
            while not self._has_ended.is_set():
                with connected.cursor() as cursor:
                    cursor.execute("SHOW synchronous_commit")
                    self.found += [str(value) for (value,) in cursor.fetchall()]

    def end(self) -> set[str]:
        """Stop the client; return every answer that it got."""
        self._has_ended.set()
        self._thread.join()
        return set(self.found)


def test_the_commits_of_other_clients_are_flushed_while_a_manager_claims(
    own: OwnDatabase, pooled: str
) -> None:
    manager = own.bench.ready(database=database_url.parse(pooled), LISTEN=False, SLEEP_DELAY_SECONDS=0.2)
    other = OtherClient(pooled)

    own.enqueue("Pass", 0, 2000)
    wait_until(lambda: own.count("status = 'finished'") == 2000)

    assert other.end() == {"on"}
    assert len(other.found) > 100
    assert manager.stop() == 0


def test_a_crash_that_the_pooler_hides_makes_no_task_run_twice_at_once(own: OwnDatabase, pooled: str) -> None:
    bench = own.bench
    sizes = {"MIN_QUEUE_SIZE": 1, "MAX_QUEUE_SIZE": 4}
    manager = bench.ready(
        database=database_url.parse(pooled), LISTEN=False, LEASE_SECONDS=120, SLEEP_DELAY_SECONDS=1, **sizes
    )
    own.hold_back_flushes()
    own.enqueue("Wait", 0, 10)
    bench.wait_for("begun", 2)
    wait_until(lambda: own.count("status = 'in_process'") == 4)

    own.crash()
    assert own.count("status = 'new'") == 10
    bench.open("gate")
    wait_until(lambda: own.count("status = 'finished'") == 10)

    lines = bench.journal()
    for task_id in {line["id"] for line in lines}:
        whats = [line["what"] for line in lines if line["id"] == task_id]
        assert whats in (["begun", "ended"], ["begun", "ended"] * 2)
    assert manager.stop() == 0
