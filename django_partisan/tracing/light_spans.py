"""How light spans of runs start, as the SDK would start them, and how they become spans of the SDK's."""

from collections.abc import Sequence
from typing import Final, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Span as SdkSpan
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
    Tracer,
    set_span_in_context,
)

from django_partisan import __version__
from django_partisan.outcomes import COMPLETED
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Run
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, of_run
from django_partisan.tracing.carrying import ROOT, span_context_of
from django_partisan.tracing.exporting import CountingProcessor
from django_partisan.tracing.light_span import COMPLETED_EVENT, LightSpan

_KIND: Final = spans.SPANS[spans.PROCESS].kind
_RANDOM: Final = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
"""The flag of W3C Trace Context level 2, which older SDKs do not set."""


class LightSpans:
    """Start spans of runs with the ids and by the sampler of ``provider``, and end them in ``processor``.

    What grows goes to all who are ``listening`` to the provider's spans.
    """

    def __init__(
        self, provider: TracerProvider, processor: CountingProcessor, listening: SynchronousMultiSpanProcessor
    ) -> None:
        self.in_use = True
        self.end = processor.on_light_end
        self._resource = provider.resource
        self._scope = InstrumentationScope(spans.TRACER, __version__)
        self._ids = provider.id_generator
        self._sampler = provider.sampler
        random = getattr(self._ids, "is_trace_id_random", lambda: False)
        self._flag = _RANDOM if random() else 0
        self._known_ids = _KnownIds()
        self._listening = listening
        ends = _EndsAlone()  # type: ignore[no-untyped-call]
        ends.add_span_processor(listening)
        self._tracer = self._tracer_of_known_spans(ends)
        self._tracer_of_ended_spans = self._tracer_of_known_spans(None)

    def _tracer_of_known_spans(self, listening: SynchronousMultiSpanProcessor | None) -> Tracer:
        """Return the SDK's tracer of spans that are sampled, and have ids already."""
        provider = TracerProvider(
            ALWAYS_ON,
            self._resource,
            shutdown_on_exit=False,
            active_span_processor=listening,
            id_generator=self._known_ids,
        )
        return provider.get_tracer(spans.TRACER, __version__)

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
        has_ended = span.ended_at is not None
        tracer = self._tracer_of_ended_spans if has_ended else self._tracer
        self._known_ids.context = span.context
        attributes = of_run(span.common, span.run)
        grown = tracer.start_span(
            span.name_at_start, _parent(span), _KIND, attributes, span.links_at_start, span.start_time
        )
        if span.completed_at is not None:
            grown.set_attribute(spans.OUTCOME, COMPLETED)
            grown.add_event(COMPLETED_EVENT, span.fields, span.completed_at)
        if has_ended:
            grown.end(span.ended_at)
        return grown

    def tell_start(self, span: LightSpan, grown: Span) -> None:
        try:
            self._listening.on_start(cast(SdkSpan, grown), _parent(span))
        except Exception:  # somebody's processor; the task only wrote to its span
            bus.swallow(spans.COUNTED_AS)

    def readable(self, span: LightSpan) -> ReadableSpan:
        return ReadableSpan(
            span.name_at_start,
            span.context,
            span.parent,
            self._resource,
            {**of_run(span.common, span.run), spans.OUTCOME: COMPLETED},
            [Event(COMPLETED_EVENT, span.fields, span.completed_at)],
            span.links_at_start,
            _KIND,
            status=Status(),
            start_time=span.start_time,
            end_time=span.ended_at,
            instrumentation_scope=self._scope,
        )


def _parent(span: LightSpan) -> Context:
    return ROOT if span.parent is None else set_span_in_context(NonRecordingSpan(span.parent), ROOT)


class _EndsAlone(SynchronousMultiSpanProcessor):
    """Tell of the ends of spans; their starts are told once these are in their place."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Leave it to ``tell_start``."""


class _KnownIds(IdGenerator):
    """Give the ids of ``context``, which is that of the one span that grows at this moment."""

    context: SpanContext

    def generate_span_id(self) -> int:
        return self.context.span_id

    def generate_trace_id(self) -> int:
        return self.context.trace_id

    def is_trace_id_random(self) -> bool:
        return bool(self.context.trace_flags & _RANDOM)
