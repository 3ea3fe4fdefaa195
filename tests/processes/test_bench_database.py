"""The benchmark database reports when a transaction was not held open for a whole measurement."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from bench.database import Database
from bench.measurement import Failed
from tools import postgres

pytestmark = pytest.mark.slow


@pytest.fixture
def database() -> Iterator[Database]:
    with postgres.server() as server, closing(Database(server.url)) as made:
        made.recreate()
        yield made


def test_a_transaction_is_held_open_that_vacuum_must_respect(database: Database) -> None:
    with database.held_open():
        held = database.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")

    assert held == 1


def test_a_transaction_that_somebody_ended_fails_the_measurement(database: Database) -> None:
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'idle in transaction'"

    with pytest.raises(Failed, match="was not held open"), database.held_open():
        database.run(end)
