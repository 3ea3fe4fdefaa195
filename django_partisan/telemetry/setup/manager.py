"""Set up telemetry in a manager's process: command options, logs, traces, and the metrics that it serves."""

import argparse
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from django.db import connections

from django_partisan import logs, sentry, signals, tracing
from django_partisan.config import observability
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.worker import exit_handlers
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.connection import task_database
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.snapshot import Snapshot

SET_UP_WORKER: Final = "django_partisan.telemetry.setup.worker.set_up_worker"
LEAST_SHARE: Final = 0.1
"""The share of ``TELEMETRY_SHUTDOWN_TIMEOUT`` that the manager's own flush always gets."""
EXIT_HANDLERS_SECONDS: Final = 0.5
TLS_OPTIONS: Final = {
    "metrics_certfile": "Serve metrics over TLS with this certificate. Use it if others share the network.",
    "metrics_keyfile": "Private key of the certificate, if it is in a separate file.",
    "metrics_client_ca": "Require client certificates signed by this CA. Use it if a token is not enough.",
}


def add_arguments(parser: argparse.ArgumentParser, spellings: Callable[[str], list[str]]) -> None:
    """Add the telemetry options, each of which overrides ``PARTISAN_OBSERVABILITY``."""
    group = parser.add_argument_group("logs and metrics")
    for key, setting in observability.KEYS.items():
        if setting.option is not None:
            group.add_argument(*spellings(key.lower()), type=setting.option, help=f"{setting.help} ({key})")
    for name, text in TLS_OPTIONS.items():
        group.add_argument(*spellings(name), metavar="FILE", help=text)
    group.add_argument(
        *spellings("log_format"),
        default="auto",
        choices=logs.FORMATS,
        help="Format of log lines (default: auto). With 'host', LOGGING configures the format. With 'auto', "
        "the format is 'host' if LOGGING has a handler for the library, and 'console' otherwise.",
    )
    group.add_argument(*spellings("log_file"), metavar="FILE", help="Append log lines to this file.")


class ManagerTelemetry:
    """The telemetry of one manager and its workers."""

    def __init__(self, config: QueueConfig, options: dict[str, Any], cleanup: ExitStack) -> None:
        self._config = config
        self._options = options
        self._cleanup = cleanup
        port = options["metrics_port"]
        self.waited_seconds = 0.0
        """How long this process waited for its workers to flush; its own flush has the remaining time.

        Spans of this process were exported during that time too. Its flush gets at least ``LEAST_SHARE``.
        """
        self._port: int | None = observability.metrics_port(config.queue) if port is None else port

    def flush(self) -> None:
        """Flush the remaining telemetry and close every subscriber."""
        timeout = observability.value("TELEMETRY_SHUTDOWN_TIMEOUT")
        bus.close(max(timeout - self.waited_seconds, timeout * LEAST_SHARE))

    @property
    def worker_spec(self) -> WorkerSpec:
        """The spec for this manager's workers."""
        arguments = {
            "log_format": self._options["log_format"],
            "log_file": self._options["log_file"],
            "count": self._port is not None,
            "settings": observability.resolved(),
        }
        return WorkerSpec(
            self._config,
            database=connections[task_database()].settings_dict["NAME"],
            manager_pid=os.getpid(),
            subscribe=(SET_UP_WORKER, arguments),
            flush_seconds=observability.value("TELEMETRY_SHUTDOWN_TIMEOUT"),
        )

    def serve(self, snapshot: Callable[[], Snapshot]) -> str | None:
        """Serve metrics if configured; return the address. Raises ``CannotServe`` if they are required."""
        if self._port is None:
            return None
        from django_partisan.metrics.access import CannotServe  # loads prometheus-client and TLS
        from django_partisan.metrics.exporter import Exporter

        exporter = Exporter(
            self._config.queue,
            snapshot,
            self._chosen("METRICS_HOST"),
            self._port,
            certfile=self._options["metrics_certfile"],
            keyfile=self._options["metrics_keyfile"],
            client_ca=self._options["metrics_client_ca"],
            token_file=self._chosen("METRICS_TOKEN_FILE"),
        )
        try:
            address = exporter.start()
        except CannotServe:
            if observability.value("METRICS_REQUIRED"):
                raise
            return None  # the exporter has emitted the reason
        self._cleanup.callback(exporter.stop)
        return address

    def _chosen(self, key: str) -> Any:
        given = self._options[key.lower()]
        return observability.value(key) if given is None else given


@contextmanager
def set_up_manager(config: QueueConfig, options: dict[str, Any]) -> Iterator[ManagerTelemetry]:
    """Set up logs and traces in a manager's process; stop and flush everything at the end."""
    with ExitStack() as cleanup:
        observability.use_resolved(observability.resolved())  # looked up once, not for each line
        cleanup.callback(observability.use_resolved, None)
        made = ManagerTelemetry(config, options, cleanup)
        cleanup.enter_context(signals.withheld())
        cleanup.callback(made.flush)
        logs.setup("manager", options["log_format"], options["log_file"], config.queue)
        tracing.setup("manager", config.queue)
        sentry.install("manager")
        yield made


def exit_if_stuck(code: int) -> None:
    """End the process now if a log handler or a collector does not return; a normal exit would wait for it.

    Exit handlers get ``EXIT_HANDLERS_SECONDS`` to run.
    """
    if logs.is_stuck() or tracing.is_stuck():  # pragma: no cover: child process
        handlers = threading.Thread(target=exit_handlers.run, daemon=True)
        handlers.start()
        handlers.join(EXIT_HANDLERS_SECONDS)
        os._exit(code)
