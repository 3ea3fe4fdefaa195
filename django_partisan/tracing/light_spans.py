"""How light spans of runs start, as the SDK would start them, and how they become spans of the SDK's."""

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    TraceFlags,
    set_span_in_context,
)

from django_partisan import __version__
from django_partisan.facts import Run
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, of_run
from django_partisan.tracing.carrying import ROOT, span_context_of
from django_partisan.tracing.exporting import CountingProcessor
from django_partisan.tracing.light_span import COMPLETED, COMPLETED_EVENT, LightSpan

_KIND: Final = spans.SPANS[spans.PROCESS].kind
_RANDOM: Final = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
"""The flag of W3C Trace Context level 2, which older SDKs do not set."""


class LightSpans:
    """Start spans of runs, with the ids and by the sampler of ``provider``, and end them in ``processor``."""

    def __init__(self, provider: TracerProvider, processor: CountingProcessor) -> None:
        self._ids = provider.id_generator
        self._sampler = provider.sampler
        random = getattr(self._ids, "is_trace_id_random", lambda: False)
        self._flag = _RANDOM if random() else 0
        self._known_ids = _KnownIds()
        self.resource = provider.resource
        self.end = processor.on_light_end
        # Of a span that grows it is known what its ids are, and that it is sampled.
        grown = TracerProvider(
            ALWAYS_ON, provider.resource, shutdown_on_exit=False, id_generator=self._known_ids
        )
        grown.add_span_processor(processor)
        self._tracer = grown.get_tracer(spans.TRACER, __version__)
        self._scope = InstrumentationScope(spans.TRACER, __version__)

    def start(self, name: str, parent: Context, links: Sequence[Link], common: Attributes, run: Run) -> Span:
        """Start the span of a run, which records nothing if it is not sampled."""
        within = span_context_of(parent)
        trace_id = self._ids.generate_trace_id() if within is None else within.trace_id
        sampling = self._sampler.should_sample(parent, trace_id, name, _KIND, None, links)
        is_sampled = sampling.decision is Decision.RECORD_AND_SAMPLE
        flags = self._flag if within is None else within.trace_flags & _RANDOM
        context = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(flags | is_sampled),
            trace_state=sampling.trace_state,
        )
        if is_sampled:
            return LightSpan(context, within, name, links, common, run, self)
        return NonRecordingSpan(context)

    def grow(self, span: LightSpan) -> Span:
        parent = ROOT if span.parent is None else set_span_in_context(NonRecordingSpan(span.parent), ROOT)
        self._known_ids.context = span.context
        attributes = of_run(span.common, span.run)
        grown = self._tracer.start_span(
            span.name_at_start, parent, _KIND, attributes, span.links_at_start, span.started
        )
        if span.at:
            grown.set_attribute(spans.OUTCOME, COMPLETED)
            grown.add_event(COMPLETED_EVENT, span.fields, span.at)
        return grown

    def readable(self, span: LightSpan) -> ReadableSpan:
        return ReadableSpan(
            span.name_at_start,
            span.context,
            span.parent,
            self.resource,
            {**of_run(span.common, span.run), spans.OUTCOME: COMPLETED},
            [Event(COMPLETED_EVENT, span.fields, span.at)],
            span.links_at_start,
            _KIND,
            status=Status(),
            start_time=span.started,
            end_time=span.ended,
            instrumentation_scope=self._scope,
        )


class _KnownIds(IdGenerator):
    """Give the ids of ``context``; one span grows at a time."""

    context: SpanContext

    def generate_span_id(self) -> int:
        return self.context.span_id

    def generate_trace_id(self) -> int:
        return self.context.trace_id

    def is_trace_id_random(self) -> bool:
        return bool(self.context.trace_flags & _RANDOM)
