"""A run's span of which the SDK is not told unless there is more to say than that the run completed.

Nearly all that is said of a completed run was said of the one before it. The SDK would check, copy and
encode it for each run anew, which takes longer than a short task; here it is filled into a template when
it is exported. Any other use of the span, by the task or by us, turns it into one of the SDK's.
"""

import threading
from collections.abc import Sequence
from time import time_ns
from typing import Any, Final, Protocol

from opentelemetry.trace import Link, Span, SpanContext
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import Attributes as AnyAttributes
from opentelemetry.util.types import AttributeValue

from django_partisan.facts import Run
from django_partisan.tracing.attributes import Attributes

COMPLETED: Final = "completed"
COMPLETED_EVENT: Final = f"task.{COMPLETED}"

_growing: Final = threading.Lock()


class Origin(Protocol):
    """Where light spans start, and what becomes of them."""

    def grow(self, span: "LightSpan") -> Span:
        """Return the SDK's span that is to take the place of ``span``, one at a time."""

    def end(self, span: "LightSpan") -> None:
        """Take a span that completed."""

    def readable(self, span: "LightSpan") -> Any:
        """Return an ended span as the SDK's exporters want it."""


class LightSpan(Span):
    """Hold what is needed to export the span of a completed run."""

    __slots__ = (
        "_grown",
        "at",
        "common",
        "context",
        "ended",
        "fields",
        "links_at_start",
        "name_at_start",
        "origin",
        "parent",
        "run",
        "started",
    )

    def __init__(
        self,
        context: SpanContext,
        parent: SpanContext | None,
        name: str,
        links: Sequence[Link],
        common: Attributes,
        run: Run,
        origin: "Origin",
    ) -> None:
        self.context = context
        self.parent = parent
        self.name_at_start = name
        self.links_at_start = links
        self.common = common
        """The attributes of all runs of one processor, as the very same object for each."""
        self.run = run
        self.started = time_ns()
        """This, ``at`` and ``ended`` are in nanoseconds since the epoch; 0 is not yet."""
        self.at = self.ended = 0
        self.fields: Attributes = {}
        """Those of the event ``task.completed``, told at ``at``."""
        self.origin = origin
        self._grown: Span | None = None

    def complete(self, fields: Attributes) -> bool:
        """Note that the run completed; return False if that is to be told as to any other span."""
        with _growing:
            if self._grown is not None:
                return False
            self.fields, self.at = fields, time_ns()
        return True

    def end(self, end_time: int | None = None) -> None:
        if self._grown is None and self.at:
            self.ended = end_time or time_ns()
            self.origin.end(self)
        else:
            self.grown().end(end_time)

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return not self.ended and (self._grown is None or self._grown.is_recording())

    def grown(self) -> Span:
        """Return the SDK's span that this one is from now on."""
        with _growing:
            if self._grown is None:
                self._grown = self.origin.grow(self)
        return self._grown

    def set_attributes(self, attributes: Any) -> None:
        self.grown().set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.grown().set_attribute(key, value)

    def add_event(self, name: str, attributes: AnyAttributes = None, timestamp: int | None = None) -> None:
        self.grown().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: AnyAttributes = None) -> None:
        self.grown().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self.grown().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.grown().set_status(status, description)

    def record_exception(self, exception: BaseException, *args: Any, **options: Any) -> None:
        self.grown().record_exception(exception, *args, **options)

    def __getattr__(self, name: str) -> Any:
        """Return what the SDK's spans have beside the API's, as ``attributes``."""
        if name.startswith("__") or name in self.__slots__:  # a copy that is being made asks for these
            raise AttributeError(name)
        return getattr(self.grown(), name)
