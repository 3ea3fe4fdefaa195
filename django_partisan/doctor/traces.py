"""Check whether spans are exported, and whether a collector accepts connections."""

import os
import socket
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Final
from urllib.parse import urlsplit

from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding, Subject
from django_partisan.tracing.exporters import ENDPOINTS, ensure_right_endpoint, exporter_names
from django_partisan.tracing.sdk import configured_tracer

CONNECT_SECONDS: Final = 2.0
# Where each exporter sends spans, unless the environment sets another endpoint.
OTLP: Final = {"otlp_proto_http": "http://localhost:4318", "otlp_proto_grpc": "http://localhost:4317"}


def check(subject: Subject) -> Iterator[Finding]:
    """Check the exporters that the environment selects, as a manager would."""
    if configured_tracer() is not None:
        yield Finding(FINE, "Your project sets up OpenTelemetry's SDK itself; managers use that.")
    else:
        yield from judge(os.environ)


def judge(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each exporter that ``environ`` selects.

    Raises ``CannotStart`` for a wrong endpoint.
    """
    ensure_right_endpoint(environ)
    names = exporter_names(environ)
    if not names:
        yield Finding(
            SKIPPED,
            "No spans are exported: OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_EXPORTER are not set.",
        )
    for name in names:
        if not entry_points(group="opentelemetry_traces_exporter", name=name):
            yield Finding(
                ERROR,
                f"OTEL_* selects the span exporter {name!r}, which is not installed.",
                "Run: pip install 'django-partisan[otlp]', or correct OTEL_TRACES_EXPORTER and the protocol.",
            )
        elif name in OTLP:
            yield _judge_collector(*endpoint_of(name, environ))
        else:
            yield Finding(FINE, f"Spans are sent to the exporter {name!r}.")


def endpoint_of(name: str, environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and the port to which an OTLP exporter sends spans."""
    given = next((environ[key] for key in reversed(ENDPOINTS) if environ.get(key)), OTLP[name])
    url = urlsplit(given if "//" in given else f"//{given}")
    return url.hostname or "localhost", url.port or (443 if url.scheme == "https" else 80)


def _judge_collector(host: str, port: int) -> Finding:
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        return Finding(
            WARNING,
            f"No collector answers at {host}:{port}: {error}. Spans would be dropped; tasks still run.",
            "Start the collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT.",
        )
    return Finding(FINE, f"Spans are sent by OTLP to {host}:{port}, which accepts connections.")
