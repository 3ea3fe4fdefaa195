"""What the tests of managers share: the database as other processes see it, and a bench to start them on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from .managing import Bench

TABLES = "django_partisan_task, django_partisan_manager, app_note"


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
    made = Bench(tmp_path)
    _empty(TABLES)
    yield made
    made.destroy()
    _end_other_backends()
    _empty(TABLES)


@pytest.fixture(scope="module")
def shared_bench(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Make a bench whose one manager serves all tests of a module: starting takes longer than they do."""
    made = Bench(tmp_path_factory.mktemp("bench"))
    try:
        with django_db_blocker.unblock():
            _empty(TABLES)
            made.ready(SLEEP_DELAY_SECONDS=30, DEFAULT_POSTPONE_DELAY_SECONDS=0.2)
            connection.close()
        yield made
    finally:
        made.destroy()
    with django_db_blocker.unblock():
        _end_other_backends()
        _empty(TABLES)
        connection.close()


@pytest.fixture
def serving(shared_bench: Bench, db: None) -> Iterator[Bench]:
    """Return the shared bench, without tasks and with an empty journal."""
    shared_bench.clear()
    yield shared_bench
    _empty("django_partisan_task, app_note")


def _end_other_backends() -> None:
    """End what the server still executes for processes that were killed: it might fill the tables again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        others = [pid for (pid,) in cursor.fetchall()]
        cursor.execute("SELECT pid, pg_terminate_backend(pid, 10000) FROM unnest(%s::int[]) AS pid", [others])
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", [others])
        assert cursor.fetchall() == []


def _empty(tables: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables}")
