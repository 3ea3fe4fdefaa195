"""Create the span exporters that the ``OTEL_*`` variables request, or say what to install."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from django_partisan.exceptions import CannotStart

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
OTLP_HTTP: Final = "otlp_proto_http"
OTLP_GRPC: Final = "otlp_proto_grpc"

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_CREDENTIALS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
"""With either of these variables, the SDK's own exporter creates its HTTP session itself."""
_OTLP_MODULES: Final = {
    OTLP_HTTP: "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    OTLP_GRPC: "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
_REMEDIES: Final = {
    OTLP_HTTP: "Install the extra 'otlp': pip install 'django-partisan[otlp]'.",
    OTLP_GRPC: "Install opentelemetry-exporter-otlp-proto-grpc, or the extra 'otlp' "
    f"(pip install 'django-partisan[otlp]') and set OTEL_EXPORTER_OTLP_PROTOCOL={HTTP}.",
}


class CannotExport(Exception):
    """A requested exporter cannot be created; the message says why and what to do."""


def exporter_names(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the requested exporters, with ``otlp`` resolved by protocol."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    listed = environ.get("OTEL_TRACES_EXPORTER", "")
    if not listed.strip() and any(environ.get(name) for name in ENDPOINTS):
        listed = "otlp"
    protocol = next((environ[key].strip() for key in PROTOCOLS if environ.get(key)), HTTP)
    # An unknown protocol matches no exporter, and the error message shows it.
    otlp = {HTTP: OTLP_HTTP, GRPC: OTLP_GRPC}.get(protocol, f"otlp over {protocol}")
    names = map(str.strip, listed.split(","))
    return [otlp if name == "otlp" else name for name in names if name and name.lower() != "none"]


def ensure_right_endpoint(environ: Mapping[str, str]) -> None:
    """Raise ``CannotStart`` if OTLP over HTTP is configured and its endpoint is not an HTTP URL.

    With such an endpoint the exporter would drop every span. gRPC accepts an address without a scheme.
    """
    name = next((name for name in reversed(ENDPOINTS) if environ.get(name)), None)
    if name is None or OTLP_HTTP not in exporter_names(environ):
        return
    given = environ[name].strip()
    try:
        url = urlsplit(given)
        is_right = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # the port is not a number, or a bracket is not closed
        is_right = False
    if not is_right:
        raise CannotStart(
            f"{name} is {given!r}; expected a URL such as http://localhost:4318.",
            "Correct it, or unset it to export no spans.",
        )


def exporters(silent: bool) -> "Iterator[SpanExporter]":
    """Create the requested exporters; unless ``silent``, print a line for each that cannot be created."""
    for name in exporter_names(os.environ):
        try:
            yield _exporter(name)
        except CannotExport as error:
            if not silent:
                print(f"django_partisan: {error}", file=sys.stderr)


def import_exporter() -> None:
    """Import, without starting anything, what processes forked from this one need to export.

    This covers HTTP only: what gRPC's library or other exporters start on import might not survive a fork.
    """
    if OTLP_HTTP in exporter_names(os.environ):
        with contextlib.suppress(CannotExport):  # each process that lacks it reports that itself
            _exporter_class(OTLP_HTTP)
            import_module("django_partisan.tracing.provider")


def _exporter(name: str) -> Any:
    exporter_class = _exporter_class(name)
    try:
        # Standard output is reserved for log lines.
        return exporter_class(out=sys.stderr) if name == "console" else exporter_class()
    except Exception as error:
        raise CannotExport(f"The span exporter {name!r} rejected its settings: {error}") from error


def _exporter_class(name: str) -> Any:
    try:
        if name == OTLP_HTTP and not any(os.environ.get(variable) for variable in _CREDENTIALS):
            with contextlib.suppress(ImportError):  # the SDK's own exporter may still be installed
                return import_module("django_partisan.tracing.otlp_http").OtlpHttpExporter
        if name in _OTLP_MODULES:  # looking up entry points would take longer than the import
            return import_module(_OTLP_MODULES[name]).OTLPSpanExporter
        [entry] = entry_points(group="opentelemetry_traces_exporter", name=name)
        return entry.load()
    except (ImportError, ValueError) as error:
        raise CannotExport(
            f"OTEL_* variables select the span exporter {name!r}, which is not installed: it gets no spans. "
            + _remedy_for_missing(name)
        ) from error


def _remedy_for_missing(name: str) -> str:
    if name.startswith("otlp over"):
        return f"OTEL_EXPORTER_OTLP_PROTOCOL must be {HTTP} (the extra 'otlp') or {GRPC}."
    return _REMEDIES.get(name, "Install its package, or correct OTEL_TRACES_EXPORTER (otlp, console, none).")
