"""The host application, which sets up OpenTelemetry itself if the environment says so."""

import os

from django.apps import AppConfig

HOST_ENDPOINT = "TRACED_HOST_ENDPOINT"


class TracedConfig(AppConfig):
    name = "tests.processes.traced"

    def ready(self) -> None:
        if endpoint := os.environ.get(HOST_ENDPOINT):
            set_up(endpoint)


def set_up(endpoint: str) -> None:
    """Set up the SDK as a host would, with its own service name."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "the host"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=8)))
    trace.set_tracer_provider(provider)
