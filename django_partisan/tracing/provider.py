"""The tracer provider of our own set-up; its exporters and queues count the spans that they drop."""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from django_partisan.telemetry import reporting
from django_partisan.tracing import dropped_spans
from django_partisan.tracing.plain_spans import PlainTracer
from django_partisan.tracing.spans import TRACER

_LIMIT: Final = "_LIMIT"
"""The suffix of the ``OTEL_*`` variables that limit what a span contains."""
_INTERNAL_METRICS: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
"""The variable that makes the SDK count its spans."""


class Provider(TracerProvider):
    """A tracer provider that exports with ``exporters``.

    The library's own spans are plain ones, unless ``OTEL_*`` variables make the SDK limit or count spans.
    """

    def __init__(self, exporters: Sequence[SpanExporter], resource: Resource) -> None:
        # The SDK's exit handler would wait 30 s for a dead collector; the subscriber flushes within a time
        # limit.
        super().__init__(resource=resource, shutdown_on_exit=False)
        for exporter in exporters:
            self.add_span_processor(CountingProcessor(exporter))
        self.makes_plain_spans = not _limits_or_counts(os.environ)

    def get_tracer(self, instrumenting_module_name: str, *args: Any, **options: Any) -> Tracer:
        tracer = super().get_tracer(instrumenting_module_name, *args, **options)
        is_ours = instrumenting_module_name == TRACER and self.makes_plain_spans
        # If the SDK is disabled, ``super()`` returns a tracer that is not an SDK tracer.
        return PlainTracer(tracer) if is_ours and isinstance(tracer, SdkTracer) else tracer


def _limits_or_counts(environ: Mapping[str, str]) -> bool:
    limits = (text for name, text in environ.items() if name.startswith("OTEL_") and name.endswith(_LIMIT))
    return environ.get(_INTERNAL_METRICS, "").strip().lower() == "true" or any(map(str.strip, limits))


class CountingProcessor(BatchSpanProcessor):
    """A batch processor that counts the spans its queue drops; the SDK drops the oldest without counting."""

    def __init__(self, exporter: SpanExporter) -> None:
        counting = CountingExporter(exporter)
        super().__init__(counting)
        # Private in the SDK, and placed differently in older versions; without it nothing is counted.
        within = getattr(self, "_batch_processor", self)
        self._waiting: deque[Any] = getattr(within, "_queue", getattr(within, "queue", deque()))
        dropped_spans.unexported.append(lambda: len(self._waiting) + counting.under_way)

    def on_end(self, span: ReadableSpan) -> None:
        if len(self._waiting) == self._waiting.maxlen and span.context and span.context.trace_flags.sampled:
            dropped_spans.count(dropped_spans.QUEUE_FULL, 1)
        super().on_end(span)


class CountingExporter(SpanExporter):
    """An exporter that counts the spans another exporter could not export."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.under_way = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        self.under_way = len(spans)
        try:
            result = self._exporter.export(spans)
        finally:
            self.under_way = 0
            if result is not SpanExportResult.SUCCESS:
                dropped_spans.count(dropped_spans.EXPORT_FAILED, len(spans))
            reporting.report_now()  # now: the run may take long, and the worker may die before its report
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
