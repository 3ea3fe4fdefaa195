"""Commands that the database refuses end with one line that says what is wrong and what to do."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from django_partisan import registry
from django_partisan.sql.connection import execute
from tests.support.database import ELSEWHERE, database_elsewhere
from tests.support.registry import Idle

COMMANDS = [
    ("partisan_cancel", "--yes"),
    ("partisan_enqueue", "Idle"),
    ("partisan_pause", "--queue-name", "default"),
    ("partisan_prune", "--yes"),
    ("partisan_requeue", "--yes"),
    ("partisan_resume", "--all"),
    ("partisan_schedules",),
    ("partisan_schedules", "--run", "nightly"),
    ("partisan_status",),
]
NOBODY = 1
"""A port on which nothing listens."""
TABLES = ("task", "pause", "schedule")

every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@pytest.fixture(autouse=True)
def _registered(own_registry: None) -> None:
    registry.register(Idle)


def refusal_of(command: tuple[str, ...]) -> str:
    with pytest.raises(CommandError) as refused:
        call_command(*command, stdout=StringIO(), stderr=StringIO())
    said = str(refused.value)
    assert "\n" not in said
    return said


@pytest.fixture
def moved() -> Iterator[Callable[..., None]]:
    """Return a function that redirects new connections until the end of the test."""
    settings: dict[str, Any] = connection.settings_dict
    before = dict(settings)

    def move(**changes: Any) -> None:
        connection.close()
        settings.update(changes)

    yield move
    connection.close()
    settings.update(before)


@pytest.mark.django_db(transaction=True)
@every_command
def test_without_the_tables_it_says_to_migrate(command: tuple[str, ...]):
    for name in TABLES:
        execute(connection, f"ALTER TABLE django_partisan_{name} RENAME TO mislaid_{name}")
    try:
        said = refusal_of(command)
    finally:
        for name in TABLES:
            execute(connection, f"ALTER TABLE mislaid_{name} RENAME TO django_partisan_{name}")

    assert " lacks a table, column or function of this version: relation " in said
    assert said.endswith(" Run: manage.py migrate django_partisan")


@pytest.mark.django_db(transaction=True)
@every_command
def test_a_connection_that_is_refused_is_named_with_its_address(command, moved):
    moved(HOST="127.0.0.1", PORT=NOBODY)

    said = refusal_of(command)

    assert f" at 127.0.0.1:{NOBODY} cannot be reached: " in said
    assert said.endswith(" Start it, or correct DATABASES.")


@pytest.mark.django_db(transaction=True)
@every_command
def test_a_database_that_does_not_exist_is_named(command, moved):
    moved(NAME="no_such_database")

    said = refusal_of(command)

    assert said.startswith("The database 'no_such_database' at ")
    assert said.endswith("Create it, or correct NAME and HOST in DATABASES.")


@pytest.mark.django_db(transaction=True)
def test_a_standby_is_named():
    execute(connection, "SET default_transaction_read_only = on")
    try:
        said = refusal_of(("partisan_enqueue", "Idle"))
    finally:
        execute(connection, "SET default_transaction_read_only = off")

    assert " does not accept writes: cannot execute INSERT in a read-only transaction. " in said
    assert said.endswith("Name the primary server in DATABASES.")


@pytest.fixture
def files() -> Iterator[None]:
    """Make the task database one that is not PostgreSQL."""
    with database_elsewhere(ENGINE="django.db.backends.sqlite3", NAME=":memory:"):
        yield


@pytest.mark.usefixtures("files")
@every_command
def test_a_database_that_is_not_postgresql_is_named(command: tuple[str, ...]):
    assert refusal_of(command).startswith(
        f"The tasks' database {ELSEWHERE!r} is sqlite; django-partisan needs PostgreSQL."
    )
