"""Check that a manager can start, and describe what it will serve."""

from collections.abc import Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import django
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

import django_partisan
from django_partisan import processor_validation
from django_partisan.config import immediate, observability, queues
from django_partisan.config.problems import WRONG_VALUE, Problem, refuse
from django_partisan.config.queues import QueueConfig
from django_partisan.config.validation import seconds
from django_partisan.exceptions import CannotStart
from django_partisan.schedules import configured
from django_partisan.sql import readiness
from django_partisan.sql.backlog import server_version
from django_partisan.sql.connection import address_of, task_database
from django_partisan.sql.refusals import refusal

WAIT: Final = seconds(0)


class ServedDatabase(NamedTuple):
    """The version of the database server, and the schema of the tasks, quoted for SQL."""

    version: str
    schema: str


def ensure_right_settings(options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Raise ``WrongSetting`` if there are problems, with one line for each.

    Checks settings, processors, schedules, and the ``options`` of the command that do not belong to a queue.
    """
    of_settings = (queues.problems(), immediate.problems(), observability.problems())
    of_options = (observability.option_problems(options), _wait_problems(options))
    of_code = (processor_validation.problems(), configured.problems())
    refuse(chain(*of_settings, *of_code, *of_options))


def _wait_problems(options: Mapping[str, Any]) -> Iterator[Problem]:
    wait = options.get("wait_for_database")
    if wait is not None and not WAIT.accepts(wait):
        yield Problem(WRONG_VALUE, "--wait-for-database", wait, WAIT.expected)


def ensure_database(wait_seconds: float = 0.0) -> ServedDatabase:
    """Return what is served; raise ``CannotStart`` unless the tasks' database is ready for a manager.

    While the database cannot be reached, try again for ``wait_seconds``.
    """
    readiness.ensure_postgresql()
    return readiness.call_with_connection(_ready_server, wait_seconds)


def _ready_server(connection: BaseDatabaseWrapper) -> ServedDatabase:
    readiness.ensure_migrated(connection)
    readiness.ensure_permitted(connection)
    return ServedDatabase(server_version(connection), readiness.schema_of_tasks(connection))


def ensure_schema(served: ServedDatabase) -> None:
    """Raise ``CannotStart`` if this thread's connection finds the tasks in another schema than ``served``.

    New connections of managers and workers follow the settings, and would serve the schema in ``served``. A
    connection that is not open is checked only if it selects a schema when it opens, as with django-tenants.
    """
    connection = connections[task_database()]
    if connection.connection is None and not hasattr(connection, "schema_name"):
        return
    try:
        here = readiness.schema_of_tasks(connection)
    except Error as error:
        raise refusal(connection, error) from error
    if here != served.schema:
        raise CannotStart(
            f"This connection finds the tasks in schema {here}, but new connections find them in "
            f"{served.schema}.",
            "Set search_path in the OPTIONS of DATABASES, with a settings module for each schema.",
        )


def notice_of_immediate_mode() -> str | None:
    """Return a line about which tasks a manager runs in immediate mode; ``None`` if it is off."""
    if not immediate.mode():
        return None
    return (
        f"{immediate.NAME} is set: processes with these settings run the tasks that they enqueue. This "
        "manager runs the rest: scheduled, postponed and retried tasks, and tasks of other processes."
    )


def describe(config: QueueConfig, version: str) -> str:
    """Return one line with the queue that is served, the number of workers, the database and versions."""
    workers = "1 worker" if config.workers_count == 1 else f"{config.workers_count} workers"
    address = address_of(connections[task_database()])
    return (
        f"Serving queue {config.queue!r} with {workers}: database {address}, "
        f"PostgreSQL {version}, Django {django.get_version()}, "
        f"django-partisan {django_partisan.__version__}."
    )
