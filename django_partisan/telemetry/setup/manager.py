"""What watches a manager: its options, its logs and traces, and the metrics it serves."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from django_partisan import logs, tracing
from django_partisan.config import observability
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.startup import SpecOfWorker
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Snapshot

if TYPE_CHECKING:
    from django_partisan.metrics.exporter import Exporter

WATCH_WORKER: Final = "django_partisan.telemetry.setup.worker.watch_worker"


def add_arguments(parser: argparse.ArgumentParser, spellings: Callable[[str], list[str]]) -> None:
    """Declare the options that say who watches; each wins over ``PARTISAN_OBSERVABILITY``."""
    group = parser.add_argument_group("watching")
    texts = {
        "metrics_port": "serve metrics and probes on this port; 0 is any free one, which is logged",
        "metrics_host": "address to serve metrics on (default: 127.0.0.1)",
        "metrics_certfile": "serve metrics over TLS with this certificate",
        "metrics_keyfile": "the certificate's key, if it is in another file",
        "metrics_client_ca": "demand client certificates that this CA signed",
        "metrics_token_file": "demand the bearer token in this file for /metrics",
    }
    for name, text in texts.items():
        kind = int if name == "metrics_port" else str
        group.add_argument(*spellings(name), type=kind, help=text)
    group.add_argument(
        *spellings("log_format"),
        default="auto",
        choices=logs.FORMATS,
        help="auto: console unless LOGGING has a handler for us; host: leave it to LOGGING (default: auto)",
    )
    group.add_argument(*spellings("log_file"), metavar="PATH", help="append log lines to this file")


class Watch:
    """What watches one manager and its workers."""

    def __init__(self, config: QueueConfig, options: dict[str, Any]) -> None:
        self._config = config
        self._options = options
        self._exporter: Exporter | None = None
        port = options["metrics_port"]
        self._port: int | None = observability.metrics_port(config.queue) if port is None else port
        self.flush_seconds: float = observability.value("TELEMETRY_SHUTDOWN_TIMEOUT")

    @property
    def spec_of_worker(self) -> SpecOfWorker:
        """Return what tells each worker who watches it."""
        plain = {
            "log_format": self._options["log_format"],
            "log_file": self._options["log_file"],
            "count": self._port is not None,
            "settings": observability.resolved(),
        }
        return SpecOfWorker(self._config, os.getpid(), (WATCH_WORKER, plain), self.flush_seconds)

    def serve(self, snapshot: Callable[[], Snapshot]) -> str | None:
        """Serve metrics if asked to, and return the address; raises ``CannotServe`` if they are required."""
        if self._port is None:
            return None
        from django_partisan.metrics.access import CannotServe  # with them come the client library and TLS
        from django_partisan.metrics.exporter import Exporter

        exporter = Exporter(
            self._config.queue,
            snapshot,
            self._options["metrics_host"] or observability.value("METRICS_HOST"),
            self._port,
            certfile=self._options["metrics_certfile"],
            keyfile=self._options["metrics_keyfile"],
            client_ca=self._options["metrics_client_ca"],
            token_file=self._options["metrics_token_file"] or observability.value("METRICS_TOKEN_FILE"),
        )
        try:
            address = exporter.start()
        except CannotServe:
            if observability.value("METRICS_REQUIRED"):
                raise
            return None  # the exporter told it
        self._exporter = exporter
        return address

    def stop(self) -> None:
        """Serve no longer, and flush what was gathered."""
        if self._exporter is not None:
            self._exporter.stop()
        bus.close(self.flush_seconds)


@contextmanager
def manager_watched(config: QueueConfig, options: dict[str, Any]) -> Iterator[Watch]:
    """Set up logs and traces of a manager's process, and end what watches it afterwards."""
    observability.adopt(observability.resolved())  # looked up once, not for each line
    logs.setup("manager", options["log_format"], options["log_file"])
    tracing.setup("manager", config.queue)
    watch = Watch(config, options)
    try:
        yield watch
    finally:
        watch.stop()
        observability.adopt(None)
