"""Put a manager together and refuse, with one clear line, what could not work."""

from typing import Any

import django
from django.db import connections

import django_partisan
from django_partisan import processor_validation
from django_partisan.config import observability, queues
from django_partisan.config.problems import refuse
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql import readiness
from django_partisan.sql.backlog import server_version
from django_partisan.sql.connection import address_of, task_database


def ensure_right_settings() -> None:
    """Raise ``WrongSetting`` naming everything that is wrong with settings and processors, one per line."""
    refuse([*queues.problems(), *observability.problems(), *processor_validation.problems()])


def ensure_database(wait_seconds: float = 0.0) -> None:
    """Raise ``CannotStart`` unless the tasks' database is PostgreSQL, reachable and migrated.

    Tries again for ``wait_seconds`` while the database is unreachable.
    """
    readiness.ensure_postgresql()
    readiness.ensure_reachable(wait_seconds)
    readiness.ensure_migrated()


def describe(config: QueueConfig) -> str:
    """Return one line that says what is served, by how many workers, from where."""
    connection = connections[task_database()]
    workers = "1 worker" if config.workers_count == 1 else f"{config.workers_count} workers"
    return (
        f"Serving queue {config.queue!r} with {workers}: database {address_of(connection)}, "
        f"PostgreSQL {server_version(connection)}, Django {django.get_version()}, "
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
