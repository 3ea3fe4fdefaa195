"""The settings that a manager passes to a worker when it starts it."""

import pickle
from dataclasses import replace
from typing import Any, NamedTuple

from django_partisan import __version__
from django_partisan.config.queues import QueueConfig, queue_value
from django_partisan.engine import protocol


class WorkerSpec(NamedTuple):
    """The set-up of a worker, as plain values because they cross to another process.

    ``subscribe`` is the dotted path of a function that subscribes telemetry in the worker, and its plain
    arguments. ``schema`` is the schema of the task table, quoted for SQL; if it is empty, ``search_path``
    decides. A manager has one spec for all its workers; the pool sets ``slot`` and ``generation``.
    ``registered`` holds the names of the definitions that the manager has; ``None`` means that it has all
    those of the worker.
    """

    config: QueueConfig
    database: str
    manager_pid: int
    subscribe: tuple[str, dict[str, Any]] | None
    flush_seconds: float
    slot: int = 0
    generation: int = 0
    schema: str = ""
    registered: frozenset[str] | None = None


def packed(spec: WorkerSpec) -> bytes:
    """Return a spec as bytes, with the versions of the code that can read it.

    ``DEFAULT_RETRY`` is left out: its exception classes and functions might not be picklable.
    """
    spec = spec._replace(config=replace(spec.config, default_retry=None))
    return pickle.dumps((protocol.VERSION, __version__, pickle.dumps(spec)))


def unpacked(data: bytes) -> WorkerSpec | None:
    """Return the spec that ``packed()`` encoded; ``None`` if the manager runs other code.

    ``DEFAULT_RETRY`` is read from the settings of this process.
    """
    *versions, pickled = pickle.loads(data)
    if versions != [protocol.VERSION, __version__]:
        return None
    spec: WorkerSpec = pickle.loads(pickled)
    default_retry = queue_value(spec.config.queue, "DEFAULT_RETRY")
    return spec._replace(config=replace(spec.config, default_retry=default_retry))
