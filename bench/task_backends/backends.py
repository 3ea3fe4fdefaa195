"""The measured backends, started as in their documentation, with two workers each.

``processors`` is not a backend: it runs the same body as a processor, with the tables and workers of
``partisan``.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BACKEND: Final = "PARTISAN_BENCH_BACKEND"
"""The variable with the backend of a measured process."""


@dataclass(frozen=True)
class Backend:
    """A backend: its settings, the command of its workers, and a query for unfinished tasks."""

    application: str
    path: str
    command: tuple[str, ...]
    pending: str
    """A query that returns whether a task is waiting or running."""
    processes: int = 1
    """How many times the command is started: once if it starts its own workers."""

    @property
    def is_installed(self) -> bool:
        """Whether the environment has the backend's package."""
        return importlib.util.find_spec(self.application) is not None


_OURS: Final = Backend(
    "django_partisan",
    "django_partisan.backend.PartisanBackend",
    ("start_partisan", "--workers-count", "2"),
    "SELECT EXISTS(SELECT 1 FROM django_partisan_task WHERE status IN ('new', 'in_process'))",
)
PROCESSORS: Final = "processors"
BACKENDS: Final[Mapping[str, Backend]] = {
    "partisan": _OURS,
    PROCESSORS: _OURS,
    "django_ox": Backend(
        "django_ox",
        "django_ox.backend.OxBackend",
        ("ox_worker",),
        "SELECT EXISTS(SELECT 1 FROM django_ox_oxtask WHERE status IN ('READY', 'RUNNING'))",
        processes=2,
    ),
    "django_tasks_db": Backend(
        "django_tasks_db",
        "django_tasks_db.DatabaseBackend",
        ("db_worker", "--no-startup-delay", "--no-reload"),
        "SELECT EXISTS(SELECT 1 FROM django_tasks_database_dbtaskresult"
        " WHERE status IN ('READY', 'RUNNING'))",
        processes=2,
    ),
}
