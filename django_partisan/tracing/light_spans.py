"""Light spans for runs: cheap as long as there is nothing to record except that the run completed.

Nearly everything in the span of a completed run is the same as in the previous one. The SDK would check and
copy it for each run, which takes longer than a short task. A light span keeps only what differs, and
``otlp_templates`` encodes it. Any other use, by the task, an exporter or us, turns it into a full span.
"""

import threading
from collections.abc import Sequence
from operator import attrgetter
from time import time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import (
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, TraceFlags

from django_partisan import __version__, outcomes
from django_partisan.telemetry.events.values import Run
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, of_run
from django_partisan.tracing.context import span_context_of

_KIND: Final = spans.SPANS[spans.PROCESS].kind
_RANDOM: Final = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
"""The flag of W3C Trace Context level 2, which older SDKs do not set."""
_SAMPLE_ROOTS: Final = (ALWAYS_ON, DEFAULT_ON)
"""The SDK's samplers that sample every span without a parent; one of them is the default."""
_CARRIED: Final = Run._fields.index("headers")


class LightSpans:
    """Starts spans of runs like ``provider``: with its ids, its sampler, and for its ``processors``."""

    def __init__(self, provider: TracerProvider, processors: SynchronousMultiSpanProcessor) -> None:
        self.processors = processors
        self._resource = provider.resource
        self._ids = provider.id_generator
        self._sampler = provider.sampler
        self._samples_roots = any(provider.sampler is one for one in _SAMPLE_ROOTS)
        random = getattr(self._ids, "is_trace_id_random", lambda: False)
        self._flag = _RANDOM if random() else 0
        self._limits = SpanLimits()
        self._scope = InstrumentationScope(spans.TRACER, __version__)
        self._end_only = _EndOnly()  # type: ignore[no-untyped-call]
        self._end_only.add_span_processor(processors)

    def start(self, name: str, parent: Context, links: Sequence[Link], common: Attributes, run: Run) -> Span:
        """Start the span of a run; it records nothing if it is not sampled."""
        within = span_context_of(parent)
        trace_id = self._ids.generate_trace_id() if within is None else within.trace_id
        is_sampled, trace_state = True, None
        if within is not None or not self._samples_roots:
            sampling = self._sampler.should_sample(parent, trace_id, name, _KIND, None, links)
            is_sampled, trace_state = sampling.decision is Decision.RECORD_AND_SAMPLE, sampling.trace_state
        flags = self._flag if within is None else within.trace_flags & _RANDOM
        ids = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(flags | is_sampled),
            trace_state=trace_state,
        )
        return LightSpan(self, ids, within, name, links, common, run) if is_sampled else NonRecordingSpan(ids)

    def full(self, light: "LightSpan") -> SdkSpan:
        """Return an SDK span with the content of ``light``; processors get its end if it is still open."""
        span = _FullSpan(
            light.first_name,
            light.ids,
            light.parent_ids,
            resource=self._resource,
            attributes=of_run(light.common, light.run),
            links=light.first_links,
            kind=_KIND,
            span_processor=self._end_only if light.ended_at is None else SpanProcessor(),
            limits=self._limits,
            instrumentation_scope=self._scope,
        )
        span.start(light.started_at)
        if light.completed_at is not None:
            span.set_attribute(spans.OUTCOME, outcomes.COMPLETED)
            span.add_event(spans.COMPLETED_EVENT, light.fields, light.completed_at)
        if light.ended_at is not None:
            span.end(light.ended_at)
        return span


class LightSpan(SdkSpan):
    """An SDK span that sets the SDK's attributes on first use; times are in ns since the epoch."""

    def __new__(cls, *_: Any) -> "LightSpan":
        return object.__new__(cls)  # a run starts sooner without the SDK's __new__

    def __init__(
        self,
        origin: LightSpans,
        ids: SpanContext,
        parent_ids: SpanContext | None,
        name: str,
        links: Sequence[Link],
        common: Attributes,
        run: Run,
    ) -> None:
        self.ids = ids
        self.parent_ids = parent_ids
        self.first_name = name
        self.first_links = links
        self.common = common
        """The attributes shared by all runs of a processor: the same object for each run."""
        self.run = Run._make((*run[:_CARRIED], None, None))
        """Without what the task carries, which may be large: spans may wait for a slow collector."""
        self.fields: Attributes = {}
        """The fields of the span event ``task.completed``."""
        self.completed_at: int | None = None
        self.ended_at: int | None = None
        """Also ``None`` if the span ended as a full span."""
        self._origin = origin
        self._is_full = False
        self._mutex = threading.RLock()  # threads of the task may write to the span while it ends
        self.started_at = time_ns()

    context = property(attrgetter("ids"))  # the batch processor reads it; that needs no full span

    def __getattr__(self, name: str) -> Any:
        """Turn this into a full span: the SDK's code asks for one of its attributes, which is not set yet."""
        if name.startswith("__"):  # requested while the span is copied
            raise AttributeError(name)
        with self._mutex:
            if not self._is_full:
                self.__dict__.update(vars(self._origin.full(self)))
                self._is_full = True
        return object.__getattribute__(self, name)

    def complete_run(self, fields: Attributes) -> bool:
        """Record that the run completed; return False for a full span, which the caller must complete."""
        with self._mutex:
            if not self._is_full:
                self.fields, self.completed_at = fields, time_ns()
            return not self._is_full

    def end(self, end_time: int | None = None) -> None:
        with self._mutex:
            stays_light = not self._is_full and self.completed_at is not None and self.ended_at is None
            if stays_light:
                self.ended_at = end_time or time_ns()
        if stays_light:
            self._origin.processors.on_end(self)
        else:
            super().end(end_time)

    def get_span_context(self) -> SpanContext:
        return self.ids

    def is_recording(self) -> bool:
        return self.ended_at is None and (not self._is_full or super().is_recording())


class _FullSpan(SdkSpan):
    """The SDK's class, which must be subclassed to be created without a tracer."""


class _EndOnly(SynchronousMultiSpanProcessor):
    """Passes on only the ends of spans: at their start there were no processors except our own."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Ignore the start."""
