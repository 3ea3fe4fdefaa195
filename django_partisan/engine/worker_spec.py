"""What a manager gives a worker at its start."""

from typing import Any, NamedTuple

from django_partisan.config.queues import QueueConfig


class WorkerSpec(NamedTuple):
    """How a worker is set up; plain values, because they cross to another process.

    ``subscribe`` is the dotted path of a function that subscribes telemetry in the worker, and its plain
    arguments. ``schema`` is that of the tasks, quoted for SQL; if it is empty, ``search_path`` decides. A
    manager has one spec for all its workers; the pool sets ``slot`` and ``generation``.
    """

    config: QueueConfig
    database: str
    manager_pid: int
    subscribe: tuple[str, dict[str, Any]] | None
    flush_seconds: float
    slot: int = 0
    generation: int = 0
    schema: str = ""
