"""Real PostgreSQL, real managers under load, and real Prometheus and Alertmanager monitoring them."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from tests.real_parts.monitoring import Alertmanager, Prometheus, Webhook
from tests.real_parts.servers import HOST, free_port
from tests.real_parts.shortening import shortened
from tests.support.child import Child
from tests.support.commands import MANAGE, ROOT, manage, python
from tools import postgres
from tools.otlp_sink import OtlpSink

ALERTS = ROOT / "grafana" / "alerts"
LOAD = "tests.real_parts.live_project.enqueue"
QUEUES_UNDER_LOAD = {"default": 4, "mail": 2, "idle": 1}
"""Workers by queue; one queue is idle, like queues at night."""
C = TypeVar("C", bound=Child)


class Manager(Child):
    """A ``start_partisan`` process; ``port`` is the port of its metrics."""

    def __init__(
        self, queue: str, workers: int, port: int, folder: Path, env: Mapping[str, str], *more: str
    ) -> None:
        self.queue = queue
        self.port = port
        arguments = [
            "--queue-name",
            queue,
            "--workers-count",
            str(workers),
            "--metrics-port",
            str(port),
            "--log-format",
            "ecs",
            *more,
        ]
        super().__init__(f"manager-{queue}", [*MANAGE, "start_partisan", *arguments], folder, env)
        self.wait_until_it_answers(f"http://{HOST}:{port}/ready", 60)


class Stack:
    """All running parts; everything started through a stack is stopped with it."""

    def __init__(self, folder: Path, env: dict[str, str], rules: dict[str, str], closing: ExitStack) -> None:
        self.folder = folder
        self._closing = closing
        self.sink = closing.enter_context(OtlpSink())
        self.env = {**env, "OTEL_EXPORTER_OTLP_ENDPOINT": self.sink.url}
        self.webhook = Webhook()
        closing.callback(self.webhook.stop)
        self.alertmanager = self._keep(Alertmanager(folder, self.webhook))
        self.prometheus = self._keep(Prometheus(folder, rules, self.alertmanager))

    def enqueue(self, processor: str, count: int) -> None:
        """Enqueue ``count`` tasks of one processor."""
        python("-m", LOAD, processor, str(count), env=self.env).check_returncode()

    def start_load(self) -> None:
        """Enqueue a shop's work steadily until the stack is stopped."""
        self._keep(Child("load", [sys.executable, "-m", LOAD], self.folder, self.env))

    def start_manager(self, queue: str, workers: int = 2, port: int | None = None) -> Manager:
        """Start a manager, wait until it is ready, and let Prometheus scrape it."""
        manager = self._keep(Manager(queue, workers, port or free_port(), self.folder, self.env))
        self.prometheus.scrape(manager.port)
        return manager

    def _keep(self, child: C) -> C:
        self._closing.callback(child.stop)
        return child


@contextmanager
def project() -> Iterator[dict[str, str]]:
    """Run a PostgreSQL with the tables; yield the environment of the project's processes."""
    with postgres.server() as server:
        env = {
            **os.environ,
            **server.env(),
            "DJANGO_SETTINGS_MODULE": "tests.real_parts.live_project.settings",
            "PYTHONPATH": str(ROOT),
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2.3,deployment.environment.name=test",
        }
        manage("migrate", "--verbosity", "0", env=env).check_returncode()
        yield env


@contextmanager
def live_stack(folder: Path, *, short_rules: bool = True) -> Iterator[Stack]:
    """Run the stack without managers; with ``short_rules``, alerts fire within seconds."""
    rules = {file.name: file.read_text() for file in sorted(ALERTS.glob("*.yaml"))}
    if short_rules:
        rules = {name: shortened(text) for name, text in rules.items()}
    with ExitStack() as closing:
        yield Stack(folder, closing.enter_context(project()), rules, closing)
