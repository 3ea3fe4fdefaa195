"""Put a manager together and refuse, with one clear line, what could not work."""

import time
from typing import Any, Final

import django
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor

import django_partisan
from django_partisan.config import observability, queues
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.exceptions import CannotStart, WrongSetting
from django_partisan.sql.backlog import server_version
from django_partisan.sql.connection import address_of, demand_postgresql, task_database

RETRY_SECONDS: Final = 0.5


def demand_right_settings() -> None:
    """Raise ``WrongSetting`` naming every wrong setting, of whichever queue."""
    wrong = [*queues.problems(), *observability.problems()]
    if wrong:
        raise WrongSetting(" ".join(map(str, wrong)))


def demand_database(wait_seconds: float = 0.0) -> None:
    """Raise ``CannotStart`` unless the tasks' database answers, is PostgreSQL, and is migrated.

    Tries again for ``wait_seconds`` while the database is out of reach.
    """
    demand_postgresql()
    connection = connections[task_database()]
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection.ensure_connection()
            break
        except OperationalError as error:
            if time.monotonic() >= deadline:
                reason = " ".join(str(error).split())  # libpq writes several lines, the cause first
                raise CannotStart(
                    f"The database {address_of(connection)} is out of reach: {reason} "
                    "Start it, correct DATABASES, or wait for it with --wait-for-database SECONDS."
                ) from error
        time.sleep(RETRY_SECONDS)
    _demand_migrations()


def _demand_migrations() -> None:
    executor = MigrationExecutor(connections[task_database()])
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == "django_partisan"]
    missing = [migration.name for migration, _ in executor.migration_plan(targets)]
    if missing:
        alias = task_database()
        option = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
        raise CannotStart(
            f"Migrations of django_partisan are missing: {', '.join(missing)}. "
            f"Run: manage.py migrate django_partisan{option}"
        )


def describe(config: QueueConfig) -> str:
    """Return one line that says what is served, by how many workers, from where."""
    connection = connections[task_database()]
    workers = "1 worker" if config.workers_count == 1 else f"{config.workers_count} workers"
    return (
        f"Serving queue {config.queue!r} with {workers}: database {address_of(connection)}, "
        f"PostgreSQL {server_version(connection).split()[0]}, Django {django.get_version()}, "
        f"django-partisan {django_partisan.__version__}."
    )


class SpecOfWorker:
    """Make what each worker of this manager is told."""

    def __init__(
        self,
        config: QueueConfig,
        manager_pid: int,
        subscribe: tuple[str, dict[str, Any]] | None,
        flush_seconds: float,
    ) -> None:
        self._config = config
        self._database: str = connections[task_database()].settings_dict["NAME"]
        self._manager_pid = manager_pid
        self._subscribe = subscribe
        self._flush_seconds = flush_seconds

    def __call__(self, slot: int, generation: int) -> WorkerSpec:
        """Return what the worker of a slot is told."""
        return WorkerSpec(
            self._config,
            self._database,
            slot,
            generation,
            self._manager_pid,
            self._subscribe,
            self._flush_seconds,
        )
