"""A database of version 1.6.1 migrates in place, forward and back, and old code goes on enqueueing."""

import io
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection as of_the_test
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql import leasing
from django_partisan.sql.claiming import ID, POSTPONES, RETRIES, claim, look_ahead
from django_partisan.sql.connection import fetch_all

ALIAS = "version_1"
VERSION_1 = "0002"

# As Django made it at the time: a sequence of its own instead of an identity column.
AS_SERIAL = """
    ALTER TABLE django_partisan_task ALTER COLUMN id DROP IDENTITY;
    CREATE SEQUENCE django_partisan_task_id_seq AS integer OWNED BY django_partisan_task.id;
    ALTER TABLE django_partisan_task
        ALTER COLUMN id SET DEFAULT nextval('django_partisan_task_id_seq'::regclass);
"""

# The columns that version 1 names, and no other.
INSERT = """
    INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class, priority,
                                      execute_after, arguments, extra)
    VALUES (%s, %s, now(), now(), 'Letter', 10, now() + %s * interval '1 second',
            '{"args": [1], "kwargs": {"to": "Ada"}}', %s)
    RETURNING id
"""

POSTPONED = {"postpones": {"count": 3}, "count": 7}
RETRIED = {"retries": {"count": 2}, "count": 1}
BOTH = {"postpones": {"count": 1}, "retries": {"count": 4}}
ROWS: dict[str, tuple[str, float, Any]] = {
    "new": ("new", -60, {}),
    "postponed": ("new", -50, POSTPONED),
    "scheduled": ("new", 3600, RETRIED),
    "in process": ("in_process", -40, BOTH),
    "begun": ("in_process", -30, {}),
    "finished": ("finished", -20, POSTPONED),
    "failed": ("error", -10, RETRIED),
}


@pytest.fixture(params=["serial", "identity"])
def old(request: Any, django_db_setup: None, django_db_blocker: Any) -> Iterator[BaseDatabaseWrapper]:
    """A database of its own, as version 1.6.1 left it, with the key that Django made then or makes now."""
    name = f"{of_the_test.settings_dict['NAME']}_{ALIAS}"
    with django_db_blocker.unblock():
        with of_the_test._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
            cursor.execute(f'CREATE DATABASE "{name}"')
        connections.settings[ALIAS] = {**connections.settings["default"], "NAME": name}
        connection = connections[ALIAS]
        try:
            migrate(VERSION_1)
            if request.param == "serial":
                run(AS_SERIAL)
            yield connection
        finally:
            connection.close()
            del connections[ALIAS]
            del connections.settings[ALIAS]
            with of_the_test._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE "{name}"')


@pytest.fixture
def ids(old: BaseDatabaseWrapper) -> dict[str, int]:
    """Rows of every status as version 1.6.1 left them; return their ids by name."""
    return {name: insert_as_version_1(*values) for name, values in ROWS.items()}


def migrate(target: str | None = None) -> None:
    given = ["django_partisan"] if target is None else ["django_partisan", target]
    call_command("migrate", *given, database=ALIAS, verbosity=0)


def run(sql: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(sql)


def ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return fetch_all(connections[ALIAS], sql, parameters)


def insert_as_version_1(status: str, due_in: float, extra: Any) -> int:
    pk: int = ask(INSERT, status, "default", due_in, json.dumps(extra))[0][0]
    return pk


def old_columns() -> list[tuple[Any, ...]]:
    return ask(
        "SELECT id, status, queue_name, created_at, updated_at, processor_class, priority, execute_after,"
        " arguments::text, extra::text FROM django_partisan_task ORDER BY id"
    )


def shape() -> list[tuple[Any, ...]]:
    """Return tables, columns, sequences and indexes as they are now."""
    return [
        *ask(
            "SELECT table_name, column_name, data_type, is_nullable, character_maximum_length, column_default"
            " FROM information_schema.columns WHERE table_name LIKE 'django_partisan%%' ORDER BY 1, 2"
        ),
        *ask(
            "SELECT sequencename, data_type::text FROM pg_sequences WHERE sequencename LIKE 'django_part%%'"
        ),
        *ask(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'django_partisan%%' ORDER BY 1"
        ),
    ]


def register_manager(connection: BaseDatabaseWrapper) -> Any:
    manager = uuid4()
    leasing.register(connection, manager, "default", "here", 17, uuid4(), 30)
    return manager


def test_the_first_migrations_give_the_table_of_version_1(old):
    columns = {name: (kind, length, null) for _, name, kind, null, length, _ in shape()[:10]}

    assert columns == {
        "id": ("integer", None, "NO"),
        "status": ("character varying", 20, "NO"),
        "queue_name": ("character varying", 50, "NO"),
        "created_at": ("timestamp with time zone", None, "NO"),
        "updated_at": ("timestamp with time zone", None, "NO"),
        "processor_class": ("character varying", 128, "NO"),
        "priority": ("integer", None, "NO"),
        "execute_after": ("timestamp with time zone", None, "NO"),
        "arguments": ("jsonb", None, "NO"),
        "extra": ("jsonb", None, "NO"),
    }


def test_every_row_stays_as_it_was(old, ids):
    before = old_columns()

    migrate()

    assert len(before) == len(ROWS)
    assert old_columns() == before


def test_the_counters_of_tasks_under_way_start_where_version_1_stopped(old, ids):
    migrate()

    counters = {pk: rest for pk, *rest in ask("SELECT id, postpones, retries FROM django_partisan_task")}
    assert counters[ids["new"]] == [0, 0]
    assert counters[ids["postponed"]] == [3, 0]
    assert counters[ids["scheduled"]] == [0, 2]
    assert counters[ids["in process"]] == [1, 4]
    assert ask("SELECT DISTINCT attempts, crashes, ready, claimed_by FROM django_partisan_task") == [
        (0, 0, False, None)
    ]


def test_what_was_in_process_is_taken_up_at_once_and_what_is_due_after_it(old, ids):
    migrate()
    manager = register_manager(old)

    orphans = leasing.adopt(old, "default", manager, [])
    look_ahead(old, "default", 100)
    claimed = claim(old, "default", manager, 100)

    assert [orphan.row[ID] for orphan in orphans] == [ids["in process"], ids["begun"]]
    assert (orphans[0].row[POSTPONES], orphans[0].row[RETRIES]) == (1, 4)
    assert [row[ID] for row in claimed] == [ids["new"], ids["postponed"]]


def test_the_id_and_its_sequence_become_bigint_and_go_on(old, ids):
    migrate()

    last = max(ids.values())
    assert insert_as_version_1("new", 0, {}) == last + 1

    [(sequence,)] = ask("SELECT pg_get_serial_sequence('django_partisan_task', 'id')")
    ask("SELECT setval(%s, %s)", sequence, 2**31)

    assert insert_as_version_1("new", 0, {}) == 2**31 + 1


@pytest.mark.parametrize("applied", ["0003", None], ids=["after 0003", "after all"])
def test_old_code_goes_on_enqueueing_during_a_rolling_deploy(applied, old):
    migrate(applied)
    manager = register_manager(old)
    pk = insert_as_version_1("new", 0, {})
    twin = insert_as_version_1("new", 0, {})

    look_ahead(old, "default", 100)

    assert [row[ID] for row in claim(old, "default", manager, 100)] == [pk, twin]


def test_an_index_that_an_interrupted_build_left_behind_is_built_anew(old, ids):
    migrate("0003")
    for name in ("ready", "scheduled", "in_process", "error", "twin"):
        run(f"CREATE INDEX partisan_task_{name} ON django_partisan_task (processor_class)")

    migrate()

    definitions = dict(ask("SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'partisan_%%'"))
    assert len(definitions) == 5
    assert not [text for text in definitions.values() if "processor_class" in text]
    assert "UNIQUE" in definitions["partisan_task_twin"]


def test_migrating_back_restores_the_table_of_version_1_with_its_rows(old, ids):
    before, rows = shape(), old_columns()
    migrate()

    migrate(VERSION_1)

    assert shape() == before
    assert old_columns() == rows


def test_forward_back_and_forward_again_ends_at_the_same_tables(old):
    migrate()
    once = shape()

    migrate("zero")
    assert shape() == []
    migrate()

    # But for the key's default: a serial one is an identity afterwards.
    assert [row[:3] for row in shape()] == [row[:3] for row in once]


def test_every_new_column_is_nullable_or_has_a_default_in_the_database(old):
    before = {row[1] for row in shape() if row[0] == "django_partisan_task"}
    migrate()

    new = [row for row in shape() if row[0] == "django_partisan_task" and row[1] not in before]

    assert len(new) == 15
    assert [name for _, name, _, nullable, _, default in new if nullable == "NO" and default is None] == []


@pytest.mark.django_db
def test_the_migrations_are_those_of_the_models():
    said = io.StringIO()

    call_command("makemigrations", "django_partisan", check=True, dry_run=True, stdout=said)

    assert "No changes detected" in said.getvalue()


def sql_of(step: str) -> str:
    said = io.StringIO()
    call_command("sqlmigrate", "django_partisan", step, stdout=said, no_color=True)
    return said.getvalue()


@pytest.mark.django_db(transaction=True)
def test_every_index_is_built_while_others_read_and_write():
    created = [line for line in sql_of("0004").splitlines() if "CREATE" in line]

    assert len(created) == 5
    assert all("CONCURRENTLY" in line for line in created)
