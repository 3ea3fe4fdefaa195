"""A run's span of which the SDK is not told unless there is more to say than that the run completed.

Nearly all that is said of a completed run was said of the one before it. The SDK would check, copy and
encode it for each run anew, which takes longer than a short task; here it is filled into a template when
it is exported. Any other use of the span, by the task or by us, turns it into one of the SDK's.
"""

import os
import threading
from collections.abc import Sequence
from time import time_ns
from typing import Any, Final, Protocol

from opentelemetry.trace import Link, Span, SpanContext
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import Attributes as AnyAttributes
from opentelemetry.util.types import AttributeValue

from django_partisan.outcomes import COMPLETED
from django_partisan.telemetry.events import Run
from django_partisan.tracing.attributes import Attributes

COMPLETED_EVENT: Final = f"task.{COMPLETED}"

_changing = threading.Lock()
"""Held while a span ends or becomes one of the SDK's, as a task's threads may write to it."""


def _renew_lock() -> None:  # pragma: no cover: forked child
    global _changing
    _changing = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class Origin(Protocol):
    """Where light spans start, and what becomes of them."""

    in_use: bool
    """False once completed runs are to be told to the SDK after all."""

    def grow(self, span: "LightSpan") -> Span:
        """Return the SDK's span that takes the place of ``span``; called for one span at a time."""

    def tell_start(self, span: "LightSpan", grown: Span) -> None:
        """Tell those who listen to the SDK's spans that ``grown`` started; never raises."""

    def end(self, span: "LightSpan") -> None:
        """Take a span that completed and ended."""

    def readable(self, span: "LightSpan") -> Any:
        """Return a span that completed and ended as the SDK's exporters want it."""


class LightSpan(Span):
    """Hold what is needed to export the span of a completed run.

    Times are in nanoseconds since the epoch.
    """

    def __init__(
        self,
        context: SpanContext,
        parent: SpanContext | None,
        name: str,
        links: Sequence[Link],
        common: Attributes,
        run: Run,
        origin: Origin,
    ) -> None:
        self.context = context
        self.parent = parent
        self.name_at_start = name
        self.links_at_start = links
        self.common = common
        """The attributes of all runs of one processor, as the very same object for each."""
        self.run = Run._make((*run[:_CARRIED], None, None))
        """Without what its task carries, which may be large: spans may wait for a slow collector."""
        self.origin = origin
        self.start_time = time_ns()
        self.ended_at: int | None = None
        """``None`` as well where the end was told to the SDK's span."""
        self.completed_at: int | None = None
        self.fields: Attributes = {}
        """Those of the event ``task.completed``."""
        self._grown: Span | None = None

    def complete(self, fields: Attributes) -> bool:
        """Note that the run completed; return False if that is to be told as to any other span."""
        with _changing:
            if self._grown is not None:
                return False
            self.fields, self.completed_at = fields, time_ns()
        return True

    def end(self, end_time: int | None = None) -> None:
        with _changing:
            stays_light = self._grown is None and self.completed_at is not None and self.origin.in_use
            ends_now = stays_light and self.ended_at is None
            if ends_now:
                self.ended_at = end_time or time_ns()
        if ends_now:
            self.origin.end(self)
        else:
            self.grown().end(end_time)

    def grown(self) -> Span:
        """Return the SDK's span that this one is from now on."""
        with _changing:
            grown = self._grown
            starts_now = grown is None and self.ended_at is None
            if grown is None:
                grown = self._grown = self.origin.grow(self)
        if starts_now:  # without the lock: who is told may look at this very span
            self.origin.tell_start(self, grown)
        return grown

    @property
    def end_time(self) -> int | None:
        """When the span ended; ``None`` before."""
        return self.ended_at if self._grown is None else getattr(self._grown, "end_time", None)

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return self.ended_at is None and (self._grown is None or self._grown.is_recording())

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

    def __exit__(self, *error: Any) -> None:
        self.grown().__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        """Return what the SDK's spans have beside the API's, as ``attributes``."""
        if name.startswith("__") or name == "_grown":  # a copy that is being made asks for these
            raise AttributeError(name)
        return getattr(self.grown(), name)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name="{self.name_at_start}", context={self.context})'


_CARRIED: Final = Run._fields.index("headers")
