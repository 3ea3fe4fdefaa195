"""Connections of our own: to the database of the tasks, unpooled, in autocommit, and named."""

import copy
import os
from typing import Any, cast

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_partisan.models import Task


def task_database() -> str:
    """Return the alias of the database that holds the tasks."""
    return router.db_for_write(Task)


def open_connection(role: str) -> BaseDatabaseWrapper:
    """Return a connection that no thread shares and no pool owns; it connects when first used.

    ``role`` stands in ``application_name``, so that ``pg_stat_activity`` shows who asks.
    """
    alias = task_database()
    connection = connections.create_connection(alias)
    # Tests point the settings of the live connection at their own database: follow it.
    configured = connections[alias].settings_dict
    connection.settings_dict = {**copy.deepcopy(connection.settings_dict), "NAME": configured["NAME"]}
    options = connection.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options.pop("server_side_binding", None)  # it takes one statement in a message only
    options["application_name"] = application_name(role)
    connection.settings_dict["CONN_MAX_AGE"] = None
    connection.inc_thread_sharing()  # made in one thread, used in another, never in two at once
    return connection


def application_name(role: str) -> str:
    """Return the name a connection of ours carries; PostgreSQL keeps 63 bytes of it."""
    return f"django_partisan {role}"[:63]


def address_of(connection: BaseDatabaseWrapper) -> str:
    """Return host, port and name of a connection's database, never its user or password."""
    settings = connection.settings_dict
    host = settings.get("HOST") or os.environ.get("PGHOST") or os.environ.get("PGHOSTADDR") or "local socket"
    port = settings.get("PORT") or os.environ.get("PGPORT") or 5432
    return f"{settings['NAME']!r} at {host}:{port}"


def fetch_all(connection: BaseDatabaseWrapper, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Execute a statement and return its rows; of several in one message, those of the last."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        while is_psycopg3 and cursor.nextset():
            pass  # pragma: no cover: psycopg 3; psycopg2 has kept the last result only
        return cast(list[tuple[Any, ...]], cursor.fetchall())


def execute(connection: BaseDatabaseWrapper, sql: str, parameters: Any = None) -> None:
    """Execute one statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
