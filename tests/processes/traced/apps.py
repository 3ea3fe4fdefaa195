"""The host application, which sets OpenTelemetry up by itself if it is told to."""

import os

from django.apps import AppConfig

HOST_ENDPOINT = "TRACED_HOST_ENDPOINT"


class TracedConfig(AppConfig):
    name = "tests.processes.traced"

    def ready(self) -> None:
        if endpoint := os.environ.get(HOST_ENDPOINT):
            set_up(endpoint)


def set_up(endpoint: str) -> None:
    """Set the SDK up as a host would, with a name of its own."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "the host"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=8)))
    trace.set_tracer_provider(provider)
