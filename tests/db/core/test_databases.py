"""Unusual databases: one that is not PostgreSQL, or one that a test run created without migrations."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_partisan.exceptions import CannotStart, WrongSetting
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.readiness import ensure_migrated
from django_partisan.testing import drain
from tests.support.database import NoMigrations

ALIAS = "other"
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {}}


class Letter(BaseTaskProcessor):
    def run(self) -> None:
        pass


class TasksAreThere:
    """Route only queries on tasks to the other database, like a router without ``allow_migrate()``."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "django_partisan" else None

    db_for_write = db_for_read


@pytest.fixture
def make(django_db_setup: None, django_db_blocker: Any, tmp_path: Path) -> Iterator[Any]:
    """Return a function that creates a test database under the other alias, as ``manage.py test`` does."""
    made: list[BaseDatabaseWrapper] = []

    def make_one(**settings: Any) -> BaseDatabaseWrapper:
        # A SQLite file can be closed; an in-memory database cannot.
        name = str(tmp_path / "tests") if settings.get("ENGINE", "").endswith("sqlite3") else None
        test = {"NAME": name, "CHARSET": None, "MIGRATE": True, "MIRROR": None, **settings.pop("TEST", {})}
        base = {**connections.settings["default"], "NAME": f"partisan_{ALIAS}_{os.getpid()}"}
        connections.settings[ALIAS] = {**base, **settings, "TEST": test}
        other = connections[ALIAS]
        made.append(other)
        other.creation.create_test_db(verbosity=0, autoclobber=True)
        return other

    with django_db_blocker.unblock():
        yield make_one
        for other in made:
            other.creation.destroy_test_db("", verbosity=0)
            del connections[ALIAS]
            del connections.settings[ALIAS]


def test_tests_of_a_project_with_a_database_that_is_not_postgresql_get_no_table_there(make):
    other = make(**SQLITE)

    tables = other.introspection.table_names()
    assert "auth_user" in tables
    assert [name for name in tables if "partisan" in name] == []


def test_a_database_that_is_not_postgresql_migrates_back_and_forward(make):
    make(**SQLITE)

    for step in ("zero", "0004", "0006"):
        call_command("migrate", "django_partisan", step, database=ALIAS, verbosity=0)


def test_enqueueing_in_a_database_that_is_not_postgresql_is_refused_and_says_what_to_set(make):
    make(**SQLITE)

    with override_settings(DATABASE_ROUTERS=[TasksAreThere()]):
        for enqueue in (Letter(1).delay, Letter(1).delay_on_commit, lambda: bulk_delay([Letter(1)])):
            with pytest.raises(WrongSetting, match=r"'other' is sqlite; .*needs PostgreSQL.*router"):
                enqueue()


def test_a_project_whose_tasks_are_not_in_postgresql_is_warned_and_can_migrate(make, capsys):
    make(**SQLITE)

    with override_settings(DATABASE_ROUTERS=[TasksAreThere()]):
        call_command("migrate", database=ALIAS, verbosity=0, skip_checks=False)

    assert "partisan.W002" in capsys.readouterr().err


@pytest.fixture
def unmigrated(make: Any, own_registry: None) -> Iterator[BaseDatabaseWrapper]:
    """The task database of a test run without migrations."""
    other = make(TEST={"MIGRATE": False})
    with override_settings(DATABASE_ROUTERS=[TasksAreThere()], MIGRATION_MODULES=NoMigrations()):
        yield other


def test_without_migrations_tasks_are_enqueued_once_and_run(unmigrated):
    from django_partisan import registry

    registry.register(Letter)
    with CaptureQueriesContext(unmigrated) as asked:
        first = Letter(1).delay()
    again = bulk_delay([Letter(1), Letter(2), Letter(3)])

    assert asked
    assert again[0] == first.pk
    assert [ran.outcome for ran in drain()] == ["completed"] * 3
    assert Task.objects.finished().count() == 3


@pytest.mark.parametrize("disabled", [True, False], ids=["disabled for all tests", "while it is made"])
def test_without_migrations_a_manager_may_start_if_every_column_exists(disabled, unmigrated, settings):
    """``TEST["MIGRATE"]`` disables migrations only while the database is created."""
    if not disabled:
        settings.MIGRATION_MODULES = {}
    assert ensure_migrated(unmigrated) is None

    fetch_all(unmigrated, "ALTER TABLE django_partisan_pause DROP COLUMN until; SELECT 1")

    with pytest.raises(CannotStart, match=r"(Tables or columns|Migrations) of django_partisan are missing"):
        ensure_migrated(unmigrated)


@pytest.mark.django_db
@override_settings(MIGRATION_MODULES=NoMigrations())
def test_a_migrated_database_is_accepted_where_migrations_are_disabled():
    assert ensure_migrated(connections["default"]) is None
