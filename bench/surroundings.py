"""What stands around the measured process in variants `metrics` and `full`: a scraper, a sink, a log file."""

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
"""Names the folder in which a companion leaves what it saw."""


@contextmanager
def of_worker() -> Iterator[list[str]]:
    """Start what the variant watches with; yield the options for `start_partisan`."""
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
    # Its end of the pipe closes with this process, however that ends, and so does the companion's work.
    lifeline, hold = os.pipe()
    try:
        subprocess.run(companion, stdin=lifeline, check=True)
        os.close(lifeline)
        yield options
    finally:
        os.close(hold)


def of_enqueuer() -> None:
    """Trace the enqueuing process in variant `full`: sampled spans, so that every row carries a context."""
    if not Variant.from_environment(os.environ).full:
        return
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    # Without an exporter: what the application does with its own spans is not ours to measure.
    trace.set_tracer_provider(TracerProvider())


def free_port() -> int:
    """Return a port on loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
