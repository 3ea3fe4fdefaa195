"""Add the running task to the project's own log lines: a filter for ``logging``, a processor for structlog.

Both read the run from the current context when a line is logged; a run costs one context variable.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from structlog.typing import EventDict, WrappedLogger

from django_partisan.telemetry.current_task import running

KEYS: Final[Mapping[str, str]] = {
    "partisan_task_id": "id",
    "partisan_processor": "processor",
    "partisan_queue": "queue",
    "partisan_attempt": "attempt",
}
"""The keys, each with the attribute of the run that gives its value."""
MISSING: Final = "-"


def keys_of_running_task() -> dict[str, Any]:
    """Return the keys of the run of this context, or an empty dict outside of a run."""
    task = running.get()
    return {} if task is None else {key: getattr(task, name) for key, name in KEYS.items()}


class TaskFilter(logging.Filter):
    """A filter that adds the keys of the running task, such as ``partisan_task_id``, to each record.

    Outside of a run, each key has the value ``missing``, so that a format can always use the keys. A record
    that already names a task keeps its keys: the filter of a ``QueueHandler`` added them during the run.
    """

    def __init__(self, missing: Any = MISSING) -> None:
        super().__init__()
        self._missing = dict.fromkeys(KEYS, missing)

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the keys, and let the record pass."""
        vars(record).update({**self._missing, **keys_in(record)})
        return True


def add_running_task(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Add the keys of the running task to a structlog line; keep keys that the line already has."""
    for key, value in keys_of_running_task().items():
        event_dict.setdefault(key, value)
    return event_dict


def keys_in(record: logging.LogRecord) -> dict[str, Any]:
    """Return the keys that the filter added to a record, or else those of the current context."""
    found = {key: value for key, value in vars(record).items() if key in KEYS}
    return found if isinstance(found.get("partisan_task_id"), int) else keys_of_running_task()
