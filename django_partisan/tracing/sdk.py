"""Set up OpenTelemetry's SDK in a process of ours, from the standard ``OTEL_*`` variables.

Called in each process after it started, never before a fork: the SDK's threads would not survive one.
The SDK is imported only if there is something to export.
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from django_partisan import __version__
from django_partisan.telemetry import bus
from django_partisan.tracing import complaints
from django_partisan.tracing.spans import TRACER

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

WORKER: Final = "worker"
MANAGER: Final = "manager"

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_OTLP_BY_PROTOCOL: Final = {HTTP: "otlp_proto_http", GRPC: "otlp_proto_grpc"}
_OTLP_MODULES: Final = {
    "otlp_proto_http": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "otlp_proto_grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
_BY_TEMPLATE: Final = "django_partisan.tracing.otlp_http"
_CREDENTIALS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
"""With one of these the SDK's own exporter makes its HTTP session itself."""
_GROUP: Final = "opentelemetry_traces_exporter"


class CannotExport(Exception):
    """An exporter that the environment asks for cannot be had; the message says why and what to do."""


def configure_sdk_if_needed(process_role: str, queue: str) -> bool:
    """Export this process's spans if the environment asks for it and the host set up nothing; tell whether.

    What is wrong is one line on standard error; workers, which would only repeat it, say nothing.
    """
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return False
    exporters = []
    for name in exporter_names(os.environ):
        try:
            exporters.append(_exporter(name))
        except CannotExport as error:
            if process_role != WORKER:
                print(f"django_partisan: {error}", file=sys.stderr)
    if not exporters:
        return False
    trace.set_tracer_provider(_provider(exporters, process_role, queue))
    complaints.soften(tell=process_role != WORKER)
    bus.refresh()
    return True


def import_exporter() -> None:
    """Import, and start nothing of, what ``configure_sdk_if_needed()`` uses in processes forked from here.

    Over HTTP alone: what gRPC's library, or somebody's exporter, does when it is imported may not survive.
    """
    if _OTLP_BY_PROTOCOL[HTTP] in exporter_names(os.environ):
        with contextlib.suppress(CannotExport):  # each process that lacks it says so
            _exporter_class(_OTLP_BY_PROTOCOL[HTTP])
            import_module("django_partisan.tracing.provider")


def configured_tracer(provider: trace.TracerProvider | None = None) -> trace.Tracer | None:
    """Return our tracer, or ``None`` where no SDK is configured or it is disabled."""
    provider = provider or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    tracer = provider.get_tracer(TRACER, __version__)
    return None if isinstance(tracer, trace.NoOpTracer) else tracer


def is_set_up() -> bool:
    """Tell whether anybody configured an SDK in this process, so that making spans is of use."""
    return configured_tracer() is not None


def exporter_names(environ: Mapping[str, str]) -> list[str]:
    """Return the exporters that the environment asks for, ``otlp`` resolved by protocol."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    listed = environ.get("OTEL_TRACES_EXPORTER", "")
    if not listed.strip() and any(environ.get(name) for name in ENDPOINTS):
        listed = "otlp"
    names = [name.strip() for name in listed.split(",")]
    return [_resolved(name, environ) for name in names if name and name.lower() != "none"]


def _resolved(name: str, environ: Mapping[str, str]) -> str:
    if name != "otlp":
        return name
    protocol = next((environ[key].strip() for key in PROTOCOLS if environ.get(key)), HTTP)
    # An unknown protocol names no exporter, and is told as such.
    return _OTLP_BY_PROTOCOL.get(protocol, f"otlp over {protocol}")


def _exporter(name: str) -> "SpanExporter":
    exporter_class = _exporter_class(name)
    try:
        # Standard output is for log lines.
        made: SpanExporter = exporter_class(out=sys.stderr) if name == "console" else exporter_class()
    except Exception as error:
        raise CannotExport(f"The span exporter {name!r} refused its settings: {error}") from error
    return made


def _exporter_class(name: str) -> Any:
    try:
        if name == _OTLP_BY_PROTOCOL[HTTP] and not any(os.environ.get(variable) for variable in _CREDENTIALS):
            with contextlib.suppress(ImportError):  # the SDK's own may still be there
                return import_module(_BY_TEMPLATE).TemplateExporter
        if name in _OTLP_MODULES:  # asking the installed packages for entry points costs more than the import
            return import_module(_OTLP_MODULES[name]).OTLPSpanExporter
        found = [entry.load() for entry in entry_points(group=_GROUP, name=name)]
    except ImportError as error:
        raise CannotExport(_cure_for_missing(name)) from error
    if not found:
        raise CannotExport(_cure_for_missing(name))
    return found[0]


def _cure_for_missing(name: str) -> str:
    missing = f"OTEL_* asks for the span exporter {name!r}, which is not installed, so no spans go there. "
    if name == _OTLP_BY_PROTOCOL[HTTP]:
        return missing + "Install the extra 'otlp': pip install 'django-partisan[otlp]'."
    if name == _OTLP_BY_PROTOCOL[GRPC]:
        return missing + (
            "Install opentelemetry-exporter-otlp-proto-grpc, or the extra 'otlp' "
            f"(pip install 'django-partisan[otlp]') and set OTEL_EXPORTER_OTLP_PROTOCOL={HTTP}."
        )
    if name.startswith("otlp"):
        return missing + f"OTEL_EXPORTER_OTLP_PROTOCOL is {HTTP} (the extra 'otlp') or {GRPC}."
    return missing + "Install what brings it, or correct OTEL_TRACES_EXPORTER (otlp, console, none)."


def _provider(exporters: "list[SpanExporter]", process_role: str, queue: str) -> trace.TracerProvider:
    from opentelemetry.sdk.resources import Resource

    from django_partisan.tracing.provider import Provider

    described: dict[str, str | int] = {
        "process.pid": os.getpid(),
        "partisan.process.role": process_role,
        "partisan.queue.name": queue,
    }
    return Provider(exporters, Resource.create(described))
