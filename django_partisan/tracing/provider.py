"""The tracer provider of our own set-up, and when the spans of its runs are light."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
    sampling,
)
from opentelemetry.sdk.trace.export import SpanExporter

from django_partisan.tracing.exporting import CountingProcessor
from django_partisan.tracing.light_spans import LightSpans

_LIMIT: Final = "_LIMIT"
"""Ends the names of the ``OTEL_*`` variables by which the SDK drops and cuts what it is told."""
_INTERNAL_METRICS: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
"""The variable that has the SDK count its spans."""


class Provider(TracerProvider):
    """Export by ``exporters``, with what they lose counted.

    Runs have light spans where the only exporter takes these, unless the SDK is to cut or to count, a
    sampler that is not the SDK's may ask for attributes, or a processor that is not ours is added.
    """

    def __init__(self, exporters: Sequence[SpanExporter], resource: Resource) -> None:
        listening = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
        # Its own end at exit would wait 30 s for a dead collector: the subscriber flushes, within a bound.
        super().__init__(resource=resource, shutdown_on_exit=False, active_span_processor=listening)
        processors = [CountingProcessor(exporter) for exporter in exporters]
        for processor in processors:
            super().add_span_processor(processor)
        self.light_spans: LightSpans | None = None
        if self._may_be_light(exporters):
            self.light_spans = LightSpans(self, processors[0], listening)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        if self.light_spans is not None:
            self.light_spans.in_use = False
            self.light_spans = None
        super().add_span_processor(span_processor)

    def _may_be_light(self, exporters: Sequence[SpanExporter]) -> bool:
        return (
            len(exporters) == 1
            and getattr(exporters[0], "takes_light_spans", False)
            and type(self.sampler).__module__ == sampling.__name__
            and not _sets_limits_or_metrics(os.environ)
        )


def _sets_limits_or_metrics(environ: Mapping[str, str]) -> bool:
    if environ.get(_INTERNAL_METRICS, "").strip().lower() == "true":
        return True
    return any(
        value.strip() for name, value in environ.items() if name.startswith("OTEL_") and name.endswith(_LIMIT)
    )
