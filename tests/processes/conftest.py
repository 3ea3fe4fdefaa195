"""What the tests of managers share: the database as other processes see it, and a bench to start them on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.support.database import empty
from tools import postgres

from .managing import Bench, bench_on_empty_tables
from .own_database import OwnDatabase, own_database


@pytest.fixture
def db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let the test use the database, in place of pytest-django's fixture of this name.

    Nothing is rolled back, for managers must see it, and nothing is flushed, which takes longer
    than most tests here.
    """
    with django_db_blocker.unblock():
        yield
        connection.close()


@pytest.fixture
def bench(db: None, tmp_path: Path) -> Iterator[Bench]:
    """Make a bench for one test; what was started on it is gone after the test."""
    with bench_on_empty_tables(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def module_bench(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Make a bench for all tests of a module: starting a manager takes longer than they do."""
    with django_db_blocker.unblock(), bench_on_empty_tables(tmp_path_factory.mktemp("bench")) as made:
        yield made
    connection.close()


@pytest.fixture(scope="module")
def shared_bench(module_bench: Bench) -> Bench:
    """Return the module's bench, with one manager that serves all its tests."""
    module_bench.ready(SLEEP_DELAY_SECONDS=30, DEFAULT_POSTPONE_DELAY_SECONDS=0.2)
    return module_bench


@pytest.fixture
def serving(shared_bench: Bench, db: None) -> Iterator[Bench]:
    """Return the shared bench, without tasks and with an empty journal."""
    shared_bench.clear()
    yield shared_bench
    empty("django_partisan_task", "app_note")


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """Run a server that one module may stop, restart and crash."""
    with postgres.server(durable=True) as made:
        yield made


@pytest.fixture
def own(server: postgres.Server, tmp_path: Path) -> Iterator[OwnDatabase]:
    """Make a database on that server for one test."""
    with own_database(server, tmp_path) as made:
        yield made
