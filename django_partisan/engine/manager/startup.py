"""Checks before a manager starts, and the line that says what it serves."""

import django
from django.db import connections

import django_partisan
from django_partisan import processor_validation
from django_partisan.config import observability, queues
from django_partisan.config.problems import refuse
from django_partisan.config.queues import QueueConfig
from django_partisan.sql import readiness
from django_partisan.sql.backlog import server_version
from django_partisan.sql.connection import address_of, task_database


def ensure_right_settings() -> None:
    """Raise ``WrongSetting`` naming everything that is wrong with settings and processors, one per line."""
    refuse([*queues.problems(), *observability.problems(), *processor_validation.problems()])


def ensure_database(wait_seconds: float = 0.0) -> str:
    """Return the schema of the tasks; raise ``CannotStart`` unless it is PostgreSQL, reachable and migrated.

    Tries again for ``wait_seconds`` while the database is unreachable.
    """
    readiness.ensure_postgresql()
    readiness.ensure_reachable(wait_seconds)
    readiness.ensure_migrated()
    return readiness.schema_of_tasks()


def describe(config: QueueConfig) -> str:
    """Return one line that says what is served, by how many workers, from where."""
    connection = connections[task_database()]
    workers = "1 worker" if config.workers_count == 1 else f"{config.workers_count} workers"
    return (
        f"Serving queue {config.queue!r} with {workers}: database {address_of(connection)}, "
        f"PostgreSQL {server_version(connection)}, Django {django.get_version()}, "
        f"django-partisan {django_partisan.__version__}."
    )
