"""The span around a run, and what it is told of the run's end."""

from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, format_span_id

from django_partisan.outcomes import COMPLETED
from django_partisan.telemetry.events import ErrorInfo, Run
from django_partisan.telemetry.trace_context import process_span_id
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes
from django_partisan.tracing.carrying import traceparent
from django_partisan.tracing.light_span import LightSpan
from django_partisan.tracing.scopes import Around, record_error


class RunScope(Around):
    """The span of one run."""

    __slots__ = ("_base", "_concluded", "_outer_id", "run")

    def __init__(self, span: Span, base: Context, run: Run) -> None:
        super().__init__(span)
        self.run = run
        self._base = base
        self._concluded = False

    def __enter__(self) -> None:
        super().__enter__()
        self._outer_id = process_span_id.set(format_span_id(self.span.get_span_context().span_id))

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        process_span_id.reset(self._outer_id)
        super().__exit__(kind, error, tb)

    def base(self) -> Context:
        return self._base

    def headers(self) -> dict[str, str]:
        """Return what the row is to carry beside its own, should the task run again."""
        text = traceparent(self.span)
        return {spans.PREVIOUS_SPAN: text} if text else {}

    def tell(
        self,
        outcome: str,
        fields: Attributes,
        error: ErrorInfo | None = None,
        delay_seconds: float | None = None,
    ) -> None:
        """Add the outcome: attributes, status, and one event with ``fields``."""
        self._concluded = True
        if not self.span.is_recording():
            return
        fields[spans.WORKER_SLOT] = self.run.slot
        fields[spans.WORKER_GENERATION] = self.run.generation
        if outcome == COMPLETED and isinstance(self.span, LightSpan) and self.span.complete(fields):
            return
        attributes: Attributes = {spans.OUTCOME: outcome}
        if delay_seconds is not None:
            attributes[spans.DELAY_SECONDS] = float(delay_seconds)
        self.span.set_attributes(attributes)
        if error is not None:
            record_error(self.span, error)
        self.span.add_event(f"task.{outcome}", fields)

    def conclude(self, error: BaseException | None) -> None:
        if error is not None and not self._concluded:
            record_error(self.span, ErrorInfo.of(error))
