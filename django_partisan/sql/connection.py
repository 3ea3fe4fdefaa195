"""Open the library's own connections to the tasks' database: unpooled, in autocommit, and named."""

import copy
import hashlib
import math
import os
import select
from collections import deque
from typing import Any, Final, cast

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_partisan.config.problems import NOT_POSTGRESQL
from django_partisan.exceptions import WrongSetting
from django_partisan.models import Task
from django_partisan.sql.schema import SchemaResolver

ANSWER_SECONDS: Final = 10.0
"""How many seconds a connection waits for its server by default."""


def task_database() -> str:
    """Return the alias of the database that holds the tasks."""
    return router.db_for_write(Task)


def task_connection() -> BaseDatabaseWrapper:
    """Return this thread's connection to the tasks; raises ``WrongSetting`` unless it is PostgreSQL."""
    connection = connections[task_database()]
    if connection.vendor != "postgresql":
        raise WrongSetting(f"{not_postgresql(connection)} {NOT_POSTGRESQL.hint}")
    return connection


def not_postgresql(connection: BaseDatabaseWrapper) -> str:
    """Return the message for a tasks' database that is not PostgreSQL."""
    return (
        f"The tasks' database {connection.alias!r} is {connection.vendor}; django-partisan needs PostgreSQL."
    )


def open_connection(
    role: str, answer_seconds: float = ANSWER_SECONDS, schema: str = ""
) -> BaseDatabaseWrapper:
    """Return a new connection that belongs to the caller and to no pool; it connects when first used.

    ``role`` is part of ``application_name``, for ``pg_stat_activity``. A connection attempt, or the wait for
    a silent host, ends after ``answer_seconds`` unless the project's settings have other limits. All its
    statements use ``schema``, quoted for SQL; if it is empty, the schema in which the first statement finds
    the tasks.
    """
    alias = task_database()
    connection = connections.create_connection(alias)
    # Test runners change the settings of the live connection to their own database, so these are used.
    connection.settings_dict = copy.deepcopy(connections[alias].settings_dict)
    options = connection.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options.pop("server_side_binding", None)  # it allows only one statement in a message
    options["application_name"] = application_name(role)
    for option, value in _network_limits(answer_seconds).items():
        options.setdefault(option, value)
    connection.settings_dict["CONN_MAX_AGE"] = None
    connection.queries_log = deque(maxlen=0)  # with DEBUG it would keep 9,000 statements and their parameters
    kept, connect = SchemaResolver(schema), connection.connect
    connection.execute_wrappers.append(kept)

    def connect_unqualified() -> None:
        with kept.connecting():
            connect()

    connection.connect = connect_unqualified  # type: ignore[method-assign]
    connection.inc_thread_sharing()  # created in one thread and used in another, never in two at once
    return connection


def _network_limits(answer_seconds: float) -> dict[str, int]:
    """Return libpq's options that limit the wait for a host that is silent or accepts no connection.

    Unix sockets ignore all but the first. ``PGCONNECT_TIMEOUT`` takes precedence, like a setting.
    """
    seconds = max(math.ceil(answer_seconds), 2)  # libpq treats 1 as 2
    limits = {
        "connect_timeout": seconds,
        "tcp_user_timeout": seconds * 1000,
        "keepalives_idle": seconds,
        "keepalives_interval": max(seconds // 3, 1),
        "keepalives_count": 3,
    }
    if os.environ.get("PGCONNECT_TIMEOUT"):
        del limits["connect_timeout"]
    return limits


def has_ended(raw: Any) -> bool:
    """Return whether the server ended a driver's connection that is idle and does not listen to a channel.

    Such a connection has data to read only then, so the check needs no round trip. In rare cases the data is
    a message of the server, such as a changed setting.
    """
    if not hasattr(raw, "fileno"):
        return False
    poll = select.poll()
    try:
        poll.register(raw.fileno(), select.POLLIN)
    except Exception:  # the driver's own error: it was closed without Django
        return True
    return bool(poll.poll(0))


def application_name(role: str) -> str:
    """Return the application name of a connection with this role; PostgreSQL keeps 63 bytes of it."""
    return f"django_partisan {role}"[:63]


def address_of(connection: BaseDatabaseWrapper) -> str:
    """Return host, port and name of a connection's database, never its user or password."""
    settings = connection.settings_dict
    host = settings.get("HOST") or os.environ.get("PGHOST") or os.environ.get("PGHOSTADDR") or "local socket"
    port = settings.get("PORT") or os.environ.get("PGPORT") or 5432
    return f"{settings['NAME']!r} at {host}:{port}"


def identity_of(connection: BaseDatabaseWrapper) -> bytes:
    """Return 16 bytes that are equal for all connections whose settings lead to the same database."""
    options = connection.settings_dict["OPTIONS"]
    known = (address_of(connection), options.get("service"), options.get("options"))
    return hashlib.blake2b(repr(known).encode(), digest_size=16).digest()


def fetch_all(connection: BaseDatabaseWrapper, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Execute a statement and return its rows; of several statements in one message, those of the last."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        while is_psycopg3 and cursor.nextset():
            pass  # pragma: no cover: psycopg 3; psycopg2 keeps the last result only
        return cast(list[tuple[Any, ...]], cursor.fetchall())


def execute(connection: BaseDatabaseWrapper, sql: str, parameters: Any = None) -> None:
    """Execute one statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
