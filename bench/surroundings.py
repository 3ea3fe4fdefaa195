"""The environment of the measured process in variants `metrics` and `full`: scraper, sink and log file."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.variant import Variant

NOTES = "PARTISAN_BENCH_NOTES"
"""The variable with the folder for the notes of companions."""


@contextmanager
def of_worker() -> Iterator[list[str]]:
    """Start the companion of the variant; yield the options for `start_partisan`."""
    variant = Variant.from_environment(os.environ)
    options: list[str] = []
    companion = [sys.executable, "-m", "bench.companion", "--name", variant.name]
    if variant.metrics:
        port = str(free_port())
        options += ["--metrics-port", port]
        companion += ["--metrics-port", port]
    if variant.full:
        log = Path(os.environ.get(NOTES) or tempfile.gettempdir()) / f"ecs-{os.getpid()}.log"
        options += ["--log-format", "ecs", "--log-file", str(log)]
        sink = str(free_port())
        companion += ["--sink-port", sink, "--log", str(log)]
        os.environ["OTEL_TRACES_EXPORTER"] = "otlp"
        os.environ["OTEL_TRACES_SAMPLER"] = "always_on"
        os.environ["OTEL_SERVICE_NAME"] = "bench"
        os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{sink}"
    if not options:
        yield options
        return
    # When this process ends in any way, its end of the pipe closes, and the companion stops.
    lifeline, hold = os.pipe()
    try:
        subprocess.run(companion, stdin=lifeline, check=True)
        os.close(lifeline)
        yield options
    finally:
        os.close(hold)


def of_enqueuer() -> None:
    """Trace the enqueuing process in variant `full`, with sampled spans, so that every row has a context."""
    if not Variant.from_environment(os.environ).full:
        return
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    # Without an exporter: exporting the application's own spans is not part of the measurement.
    trace.set_tracer_provider(TracerProvider())


def free_port() -> int:
    """Return a port on the loopback interface that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
