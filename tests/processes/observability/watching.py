"""Managers of the watched application, and processes of the application itself."""

import os
import subprocess
from typing import Any

from django_partisan import registry
from django_partisan.models import Task
from tests.processes.managing import Bench, ManagerProcess
from tests.support.commands import python
from tests.support.registry import Idle, empty_registry
from tests.support.waiting import wait_until

APPS = ["django_partisan", "tests.app", "tests.processes.observability.watched"]
UNFINISHED = ("new", "in_process")
Variables = dict[str, str]


class Watching:
    """A bench whose managers serve metrics, and run the watched application's tasks."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def start(
        self,
        *options: str,
        observability: dict[str, Any] | None = None,
        level: str = "INFO",
        settings: dict[str, Any] | None = None,
        **more: Any,
    ) -> ManagerProcess:
        """Start a manager; ``observability`` are its settings, ``more`` those that ``Bench.start`` takes."""
        if "--metrics-port" not in options:
            options = (*options, "--metrics-port", "0")
        chosen = self.settings(level, observability) | (settings or {})
        variables = without_exporters() | more.pop("variables", {})
        return self.bench.start(*options, settings=chosen, variables=variables, **more)

    def settings(self, level: str = "INFO", observability: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return Django's settings for the watched application."""
        return {
            "INSTALLED_APPS": APPS,
            "PARTISAN_OBSERVABILITY": {"METRICS_DB_MIN_INTERVAL": 0, **(observability or {})},
            "LOGGING": logging_at(level),
        }

    def ready(self, *options: str, **more: Any) -> ManagerProcess:
        """Start a manager, and wait until every worker is ready."""
        manager = self.start(*options, **more)
        manager.wait_for("worker.ready", more.get("WORKERS_COUNT", 2))
        return manager

    def application(
        self, code: str, before: str = "", **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run code in a process of the application that configured neither logging nor tracing.

        ``before`` runs before Django is set up.
        """
        whole = f"{before}\nimport django\ndjango.setup()\n{IMPORTS}\n{code}"
        environment = self.bench.environment(None, {"INSTALLED_APPS": APPS}) | without_exporters() | variables
        return python("-X", "dev", "-c", whole, env=environment)


IMPORTS = "from tests.processes.observability.watched.partisan_tasks import *"


def logging_at(level: str) -> dict[str, Any]:
    """Return Django's LOGGING that gives our loggers a level and nothing else."""
    loggers = {"django_partisan": {"level": level}}
    return {"version": 1, "disable_existing_loggers": False, "loggers": loggers}


def without_exporters() -> Variables:
    """Return the variables that keep a manager from exporting what the tests' environment asks for."""
    return {name: "" for name in os.environ if name.startswith("OTEL_")}


def enqueue(processor: str, *args: Any, times: int = 1, unique: bool = False, **kwargs: Any) -> list[int]:
    """Enqueue tasks of a processor that this process need not have; return their ids."""
    kind = type(processor, (Idle,), {"UNIQUE_FOR_PARAMS": unique})
    with empty_registry():
        registry.register(kind)
        return [kind(*args, **kwargs).delay().pk for _ in range(times)]


def enqueue_each(*tasks: tuple[Any, ...]) -> None:
    """Enqueue tasks, each named by its processor and then its arguments."""
    for processor, *args in tasks:
        enqueue(processor, *args)


def wait_until_done(seconds: float = 30.0) -> None:
    """Wait until no task waits or runs; ``seconds`` limits the time in which no task ends."""
    unfinished = Task.objects.filter(status__in=UNFINISHED)
    wait_until(
        lambda: not unfinished.exists(), seconds, "every task is done", every=0.05, progress=unfinished.count
    )
