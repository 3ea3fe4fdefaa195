"""Fixtures for the tests of managers: the database as other processes see it, and benches for managers."""

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
    """Allow database access, in place of pytest-django's fixture of this name.

    Nothing is rolled back, because managers must see the rows, and nothing is flushed, because that takes
    longer than most tests here.
    """
    with django_db_blocker.unblock():
        yield
        connection.close()


@pytest.fixture
def bench(db: None, tmp_path: Path) -> Iterator[Bench]:
    """Return a bench for one test; everything started on it is ended after the test."""
    with bench_on_empty_tables(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def module_bench(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Return a bench for all tests of a module: starting a manager takes longer than a test."""
    with django_db_blocker.unblock(), bench_on_empty_tables(tmp_path_factory.mktemp("bench")) as made:
        yield made
    connection.close()


@pytest.fixture(scope="module")
def shared_bench(module_bench: Bench) -> Bench:
    """Return the module's bench, with one running manager that serves all tests of the module."""
    module_bench.ready(SLEEP_DELAY_SECONDS=30, DEFAULT_POSTPONE_DELAY_SECONDS=0.2)
    return module_bench


@pytest.fixture
def serving(shared_bench: Bench, db: None) -> Iterator[Bench]:
    """Return the shared bench, with no tasks and an empty journal."""
    shared_bench.clear()
    yield shared_bench
    empty("django_partisan_task", "app_note")


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """Run a PostgreSQL server that the tests of one module may stop, restart and crash."""
    with postgres.server(durable=True) as made:
        yield made


@pytest.fixture
def own(server: postgres.Server, tmp_path: Path) -> Iterator[OwnDatabase]:
    """Return a database on that server for one test."""
    with own_database(server, tmp_path) as made:
        yield made
