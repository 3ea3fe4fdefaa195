"""A database of version 1.6.1 migrates in place, forward and backward, and old code can still enqueue."""

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections
from django.db import connection as of_the_test
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from django_partisan.sql import leasing, rescuing
from django_partisan.sql.claiming import ID, POSTPONES, RETRIES, check_queue
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.tokens import new_token
from tests.support.database import NoMigrations
from tests.support.rows import claim, dead, insert

ALIAS = "version_1"
VERSION_1 = "0002"
BEFORE_THE_STEP = "0004"

# As Django created it at the time: a separate sequence instead of an identity column.
AS_SERIAL = """
    ALTER TABLE django_partisan_task ALTER COLUMN id DROP IDENTITY;
    CREATE SEQUENCE django_partisan_task_id_seq AS integer OWNED BY django_partisan_task.id;
    ALTER TABLE django_partisan_task
        ALTER COLUMN id SET DEFAULT nextval('django_partisan_task_id_seq'::regclass);
"""

# Exactly the columns that version 1 names.
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


@pytest.fixture
def old(django_db_setup: None, django_db_blocker: Any) -> Iterator[BaseDatabaseWrapper]:
    """A separate database, as version 1.6.1 left it."""
    name = f"partisan_{ALIAS}_{os.getpid()}"
    with django_db_blocker.unblock(), of_the_test._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
        with configured(NAME=name):
            migrate(VERSION_1)
            run(AS_SERIAL)
            yield connections[ALIAS]
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def configured(**settings: Any) -> Iterator[None]:
    connections.settings[ALIAS] = {**connections.settings["default"], **settings}
    try:
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.settings[ALIAS]


@pytest.fixture
def ids(old: BaseDatabaseWrapper) -> dict[str, int]:
    """Rows of every status as version 1.6.1 left them; return their ids by name."""
    return {name: insert_as_version_1(*values) for name, values in ROWS.items()}


def migrate(*target: str, **options: Any) -> None:
    call_command("migrate", "django_partisan", *target, database=ALIAS, verbosity=0, **options)


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


def shape(schema: str = "public") -> list[tuple[Any, ...]]:
    """Return the current columns, sequences and indexes, one row each, starting with the table or name."""
    return ask(
        """
        SELECT * FROM (
            SELECT table_name::text, column_name::text, data_type::text, is_nullable::text,
                   character_maximum_length::int, column_default::text
              FROM information_schema.columns WHERE table_schema = %s
             UNION ALL SELECT sequencename, data_type::text, NULL, NULL, NULL, NULL
              FROM pg_sequences WHERE schemaname = %s
             UNION ALL SELECT indexname, indexdef, NULL, NULL, NULL, NULL
              FROM pg_indexes WHERE schemaname = %s
        ) AS ours (name, what) WHERE name ~ 'partisan' ORDER BY name, what
        """,
        *[schema] * 3,
    )


def columns() -> dict[str, tuple[Any, ...]]:
    return {row[1]: row[2:] for row in shape() if row[0] == "django_partisan_task"}


def register_manager(connection: BaseDatabaseWrapper) -> Any:
    manager = uuid4()
    leasing.register(connection, manager, "default", "here", 17, uuid4(), 30)
    return manager


def test_the_first_migrations_give_the_table_of_version_1(old):
    assert {name: (kind, length, null) for name, (kind, null, length, _) in columns().items()} == {
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


def test_every_row_stays_and_its_counters_start_where_version_1_stopped(old, ids):
    before = old_columns()

    migrate()

    assert len(before) == len(ROWS)
    assert old_columns() == before
    counters = {pk: rest for pk, *rest in ask("SELECT id, postpones, retries FROM django_partisan_task")}
    assert counters[ids["new"]] == [0, 0]
    assert counters[ids["postponed"]] == [3, 0]
    assert counters[ids["scheduled"]] == [0, 2]
    assert counters[ids["in process"]] == [1, 4]
    assert ask("SELECT DISTINCT attempts, crashes, ready, claimed_by FROM django_partisan_task") == [
        (0, 0, False, None)
    ]


def test_what_was_in_process_is_rescued_at_once_and_what_is_due_is_claimed_after_it(old, ids):
    migrate()
    manager = register_manager(old)

    rescued = rescuing.rescue(old, "default", manager, new_token(), dead())
    check_queue(old, "default", 100)
    claimed = claim(old, "default", manager, 100)

    assert [task.row[ID] for task in rescued] == [ids["in process"], ids["begun"]]
    assert (rescued[0].row[POSTPONES], rescued[0].row[RETRIES]) == (1, 4)
    assert [row[ID] for row in claimed] == [ids["new"], ids["postponed"]]


@pytest.mark.parametrize("key", ["serial", "identity"])
def test_the_id_and_its_sequence_become_bigint_and_go_on(key, old):
    if key == "identity":  # as Django creates it now
        migrate("zero")
        migrate(VERSION_1)
    last = insert_as_version_1("new", 0, {})
    migrate()

    assert insert_as_version_1("new", 0, {}) == last + 1

    [(sequence,)] = ask("SELECT pg_get_serial_sequence('django_partisan_task', 'id')")
    ask("SELECT setval(%s, %s)", sequence, 2**31)

    assert insert_as_version_1("new", 0, {}) == 2**31 + 1


@pytest.mark.parametrize("applied", ["0003", BEFORE_THE_STEP, "0005", "0006", "0007", "0008"])
def test_old_code_goes_on_enqueueing_during_a_rolling_deploy(applied, old):
    migrate(applied)
    pks = [insert_as_version_1("new", 0, {}) for _ in range(2)]
    migrate()
    manager = register_manager(old)

    check_queue(old, "default", 100)

    assert [row[ID] for row in claim(old, "default", manager, 100)] == pks


def test_an_index_that_an_interrupted_build_left_behind_is_built_again(old):
    migrate("0003")
    for name in (
        "ready",
        "scheduled",
        "in_process",
        "error",
        "twin",
        "held",
        "limited",
        "upcoming",
        "unregistered",
    ):
        run(f"CREATE INDEX partisan_task_{name} ON django_partisan_task (extra)")

    migrate()

    definitions = [row[1] for row in shape() if row[0].startswith("partisan_task_")]
    assert len(definitions) == 8
    assert not [text for text in definitions if "extra" in text]


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

    # Except for the key's default: a serial column becomes an identity column.
    assert [row[:3] for row in shape()] == [row[:3] for row in once]


def test_every_new_column_is_nullable_or_has_a_default_in_the_database(old):
    before = columns()
    migrate()

    new = {name: rest for name, rest in columns().items() if name not in before}

    assert len(new) == 26
    assert [name for name, (_, null, _, default) in new.items() if null == "NO" and default is None] == []


def test_the_schema_step_goes_forward_without_a_rewrite_and_back(old, ids):
    files = (
        "SELECT pg_relation_filenode('django_partisan_task'), pg_relation_filenode('django_partisan_manager')"
    )
    migrate(BEFORE_THE_STEP)
    before, files_before = shape(), ask(files)

    migrate()
    assert ask(files) == files_before
    assert columns()["processor_class"] == ("character varying", "NO", 255, None)

    migrate(BEFORE_THE_STEP)
    assert shape() == before


@contextmanager
def somebody(*statements: str) -> Iterator[None]:
    """Execute statements in another transaction, and leave it open."""
    other = connections.create_connection(ALIAS)
    other.set_autocommit(False)
    try:
        for statement in statements:
            other.cursor().execute(statement)
        yield
    finally:
        other.close()


@pytest.mark.parametrize(
    ("locked", "seconds"), [("django_partisan_task", (4.5, 10)), ("django_partisan_manager", (0, 4.5))]
)
def test_columns_that_wait_for_a_lock_fail_soon_and_leave_nothing_half_done(locked, seconds, old):
    """A heartbeat that waits for the migration holds the managers: waiting for it would be a deadlock."""
    migrate(BEFORE_THE_STEP)
    before, started = shape(), time.monotonic()

    holder = somebody(f"LOCK TABLE {locked} IN ACCESS SHARE MODE")
    with holder, pytest.raises(OperationalError, match="lock timeout"):
        migrate()

    assert seconds[0] < time.monotonic() - started < seconds[1]
    assert shape() == before
    assert ask("SHOW lock_timeout") == [("0",)]
    migrate()


def test_an_index_that_waits_for_a_lock_fails_soon_and_is_built_by_the_next_run(old):
    migrate("0005")
    run("SET lock_timeout = '7s'")

    holder = somebody("LOCK TABLE django_partisan_task IN ROW EXCLUSIVE MODE")
    with holder, pytest.raises(OperationalError, match="lock timeout"):
        migrate()
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    assert ask(invalid) == [("partisan_task_held",)]
    migrate()

    assert ask(invalid) == []
    assert ask("SHOW lock_timeout") == [("7s",)]


def test_a_second_schema_gets_its_own_and_leaves_that_of_the_first(old):
    run("CREATE SCHEMA tenant; SET search_path = tenant")
    migrate(BEFORE_THE_STEP)
    run("SET search_path = public")
    migrate()
    first = shape()

    run("SET search_path = tenant, public")
    migrate()
    second = shape("tenant")
    migrate(BEFORE_THE_STEP)

    names = [row[:2] for row in first]
    assert [(name, what.replace(" ON tenant.", " ON public.")) for name, what, *_ in second] == names
    assert [row[:2] for row in shape("public")] == names


def test_tables_that_are_made_without_migrations_are_the_same(old):
    migrate()
    migrated = shape()
    run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    with override_settings(MIGRATION_MODULES=NoMigrations()):
        call_command("migrate", database=ALIAS, verbosity=0, run_syncdb=True)

    of_earlier_managers = "django_partisan_claim_token_seq"
    assert [row[:5] for row in shape()] == [row[:5] for row in migrated if row[0] != of_earlier_managers]


@contextmanager
def tenant(schema: str) -> Iterator[None]:
    """Put a schema in front of ``public``, with its own migrations table, as django-tenants does."""
    run(f"CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}")
    MigrationRecorder(connections[ALIAS]).ensure_schema()
    run(f"SET search_path = {schema}, public")
    yield
    run("SET search_path = public")


def test_each_tenant_has_tables_and_indexes_of_its_own_and_enqueues_there(old):
    migrate()
    first, schemas = shape(), ("public", "one", "two")
    for schema in schemas[1:]:
        with tenant(schema):
            migrate()

    for schema in schemas:
        run(f"SET search_path = {schema}, public")
        key = uuid4()
        assert len({insert(connection=old, key=key).pk for _ in range(3)}) == 1
    assert ask(
        " UNION ALL ".join(f"SELECT count(*) FROM {schema}.django_partisan_task" for schema in schemas)
    ) == ([(1,)] * 3)
    assert [len(shape(schema)) for schema in schemas] == [len(first)] * 3

    with tenant("one"):
        migrate("zero")
    assert (shape("one"), shape("public")) == ([], first)


def test_the_schema_step_changes_nothing_in_sqlite(django_db_blocker, tmp_path):
    sqlite = configured(ENGINE="django.db.backends.sqlite3", NAME=str(tmp_path / "file"), OPTIONS={})
    with django_db_blocker.unblock(), sqlite:
        migrate(BEFORE_THE_STEP, fake=True)

        migrate()
        assert connections[ALIAS].introspection.table_names() == ["django_migrations"]

        migrate(BEFORE_THE_STEP)


@pytest.mark.django_db
def test_the_migrations_are_those_of_the_models():
    call_command("makemigrations", "django_partisan", check=True, dry_run=True)


@pytest.mark.django_db
def test_the_permissions_of_the_admin_need_no_statement_on_a_table():
    printed = io.StringIO()
    call_command("sqlmigrate", "django_partisan", "0008", stdout=printed, no_color=True)

    statements = [line for line in printed.getvalue().splitlines() if line and not line.startswith("--")]
    assert statements in ([], ["BEGIN;", "COMMIT;"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("step", "indexes"), [("0004", 5), ("0006", 2), ("0007", 2)])
def test_every_index_is_built_while_others_read_and_write(step, indexes):
    printed = io.StringIO()
    call_command("sqlmigrate", "django_partisan", step, stdout=printed, no_color=True)
    created = [line for line in printed.getvalue().splitlines() if "CREATE" in line]

    assert len(created) == indexes
    assert all("CONCURRENTLY" in line for line in created)
