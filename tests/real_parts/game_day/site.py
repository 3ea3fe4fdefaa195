"""A site: a PostgreSQL, managers under steady load, and a Prometheus job."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg2

from tests.real_parts.live_stack import Manager
from tests.real_parts.monitoring import Prometheus
from tests.real_parts.servers import free_port
from tests.support.child import Child
from tests.support.commands import ROOT, manage
from tests.support.waiting import wait_until
from tools import postgres
from tools.otlp_sink import OtlpSink

SETTINGS: Final = "tests.real_parts.game_day.project.settings"
ENQUEUE: Final = "tests.real_parts.game_day.project.enqueue"
SHOP: Final = "shop"
WORKERS: Final = 2
SERVED_PER_SECOND: Final = 8
"""Tasks per second in the steady load of every site."""
START_SECONDS: Final = 60


@dataclass(frozen=True)
class SiteOptions:
    """The options in which a site differs from others."""

    database: Mapping[str, str] = field(default_factory=dict)
    """Settings of the site's PostgreSQL."""
    log_file: bool = False
    """Whether the managers log to ``Site.log_file``."""


class Site:
    """The target of a fault; everything started through a site is stopped with it."""

    def __init__(
        self, name: str, folder: Path, prometheus: Prometheus, options: SiteOptions, open_parts: ExitStack
    ) -> None:
        self.job = f"partisan-{name}"
        self.folder = folder
        self.log_file = folder / "partisan.log"
        self._options = options
        self._prometheus = prometheus
        self._open_parts = open_parts
        self.server = open_parts.enter_context(postgres.server(settings=options.database))
        self.collector = open_parts.enter_context(OtlpSink())
        self.env = {
            **os.environ,
            **self.server.env(),
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "PYTHONPATH": str(ROOT),
            "GAME_DAY_FOLDER": str(folder),
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
        }
        manage("migrate", "--verbosity", "0", env=self.env).check_returncode()
        self.manager = self.start_manager()
        self._load = self._start_load()

    def start_manager(self, queue: str = SHOP, **env: str) -> Manager:
        """Start a manager, wait until it is ready, and let Prometheus scrape it."""
        manager = self.start_manager_unseen(queue, **env)
        self.scrape(manager.port)
        return manager

    def start_manager_unseen(self, queue: str = SHOP, **env: str) -> Manager:
        """Start a manager that is not scraped, and wait until it is ready."""
        more = ["--log-file", str(self.log_file)] if self._options.log_file else []
        manager = Manager(queue, WORKERS, free_port(), self.folder, {**self.env, **env}, *more)
        self._open_parts.callback(manager.stop)
        self._open_parts.callback(self._prometheus.forget, manager.port)
        return manager

    def replace_manager(self, **env: str) -> None:
        """Start another manager in place of the current one, and end that one if it is still running."""
        old = self.manager
        if old.process.poll() is not None:
            self.forget(old.port)
        self.manager = self.start_manager(**env)
        self.forget(old.port)
        old.stop()

    def scrape(self, port: int) -> None:
        """Make Prometheus scrape a port, and wait until it has done so."""
        self._prometheus.scrape(port, self.job)
        is_up = f"{self._up(port)} == 1"
        wait_until(lambda: self._prometheus.query(is_up), START_SECONDS, is_up, every=0.2)

    def forget(self, port: int) -> None:
        """Stop Prometheus from scraping a port; wait until it has stopped, which may take five seconds."""
        self._prometheus.forget(port)
        is_known = self._up(port)
        wait_until(lambda: not self._prometheus.query(is_known), START_SECONDS, is_known, every=0.2)

    def wait_for(self, metric: str, seconds: float = START_SECONDS) -> None:
        """Wait until an expression has a value in Prometheus; ``JOB`` becomes this site's label matcher."""
        expression = metric.replace("JOB", f'job="{self.job}"')
        wait_until(lambda: self._prometheus.query(expression), seconds, expression, every=0.5)

    def enqueue(self, processor: str, *args: Any, count: int = 1) -> None:
        """Enqueue tasks at once."""
        self._order(processor=processor, args=args, count=count)

    def enqueue_steadily(self, processor: str, *args: Any, per_second: float) -> None:
        """Enqueue tasks steadily from now on, until called with 0."""
        self._order(processor=processor, args=args, per_second=per_second)

    @contextmanager
    def stream(self, processor: str, *args: Any, per_second: float) -> Iterator[None]:
        """Enqueue tasks steadily inside a ``with`` block."""
        self.enqueue_steadily(processor, *args, per_second=per_second)
        yield
        self.enqueue_steadily(processor, *args, per_second=0)

    def command(self, *words: str) -> None:
        """Run a management command."""
        done = manage(*words, env=self.env)
        assert done.returncode == 0, done.stdout + done.stderr

    def execute(self, *statements: str) -> None:
        """Execute statements, each in its own transaction."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def connect(self, application: str = "game day") -> "psycopg2.extensions.connection":
        """Return a connection in autocommit mode."""
        connection = psycopg2.connect(self.server.url, application_name=application)
        connection.autocommit = True
        return connection

    def log(self) -> str:
        """Return the log of all managers."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("manager-*.log")))

    def _up(self, port: int) -> str:
        return f'up{{job="{self.job}", instance=~".+:{port}"}}'

    def _start_load(self) -> Child:
        load = Child("load", [sys.executable, "-m", ENQUEUE], self.folder, self.env, stdin=subprocess.PIPE)
        self._open_parts.callback(load.stop)
        self._write(load, {"processor": "Serve", "args": [], "per_second": SERVED_PER_SECOND})
        return load

    def _order(self, **order: Any) -> None:
        self._write(self._load, order)

    @staticmethod
    def _write(load: Child, order: Mapping[str, Any]) -> None:
        assert load.process.stdin is not None
        load.process.stdin.write(json.dumps(order).encode() + b"\n")
        load.process.stdin.flush()


Fault = Callable[[Site], AbstractContextManager[None]]
"""A fault: a context manager that injects it into a site on entry and recovers from it on exit."""


@contextmanager
def site(
    name: str, folder: Path, prometheus: Prometheus, options: SiteOptions | None = None
) -> Iterator[Site]:
    """Run a site inside a ``with`` block."""
    with ExitStack() as open_parts:
        yield Site(name, folder, prometheus, options or SiteOptions(), open_parts)
