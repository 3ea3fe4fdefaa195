"""The SDK's batch processor and any exporter, with what they lose counted; for our own set-up only."""

from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from django_partisan.tracing import losses
from django_partisan.tracing.light_span import LightSpan


class CountingProcessor(BatchSpanProcessor):
    """Count the spans for which the queue has no room: the SDK drops the oldest and tells nobody how many."""

    def __init__(self, exporter: SpanExporter) -> None:
        counting = CountingExporter(exporter)
        super().__init__(counting)
        # Private in the SDK, and elsewhere in its older versions; without it nothing is counted.
        within = getattr(self, "_batch_processor", self)
        self._waiting: deque[Any] = getattr(within, "_queue", getattr(within, "queue", deque()))
        losses.unsent.append(lambda: len(self._waiting) + counting.under_way)

    def on_end(self, span: ReadableSpan) -> None:
        if len(self._waiting) == self._waiting.maxlen and span.context and span.context.trace_flags.sampled:
            losses.count(losses.QUEUE_FULL, 1)
        super().on_end(span)

    def on_light_end(self, span: LightSpan) -> None:
        """Take a span whose exporter knows what to do with it; on its way there nobody looks inside."""
        self.on_end(cast(ReadableSpan, span))


class CountingExporter(SpanExporter):
    """Count the spans that another exporter could not deliver."""

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
                losses.count(losses.EXPORT_FAILED, len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
