"""Enqueue tasks, steadily if no arguments: ``python -m tests.real_parts.live_project.enqueue [NAME COUNT]``.

``enqueue --request REQUEST TRACE NAME[:NUMBER] ...`` enqueues the tasks of one request.
"""

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import django


def steadily() -> None:
    """Enqueue the tasks of a shop until ended: a few every tenth of a second, more in bursts.

    Managers enqueue the tasks of schedules. One processor no longer has code, and one queue is paused.
    """
    from django_partisan import pausing
    from django_partisan.models import Schedule, Task
    from tests.real_parts.live_project import partisan_tasks as shop

    pausing.pause("idle", comment="stock-taking")
    Task.objects.create(processor_class="PrintCatalogue", queue_name="default")
    Schedule.objects.get_or_create(name="stock", defaults={"task": "SyncStock", "every": 2})
    for tick in count():
        burst = 4 if tick % 600 > 500 else 1
        for _ in range(3 * burst):
            shop.SyncStock(random.random()).delay()
        for _ in range(burst):
            shop.SendMail(random.random()).delay()
        if tick % 5 == 0:
            shop.SendInvoice(tick).delay()
        if tick % 20 == 0:
            shop.ImportCatalogue(tick).delay()
        time.sleep(0.1)


def many(name: str, number: int) -> None:
    """Enqueue ``number`` tasks of one processor."""
    from django_partisan import registry
    from django_partisan.processor import bulk_delay

    bulk_delay(registry.definitions[name].source(index) for index in range(number))


def of_a_request(request_id: str, trace_id: str, *tasks: str) -> None:
    """Enqueue tasks, each given as ``NAME`` or ``NAME:NUMBER``, within a request and its trace."""
    from opentelemetry import trace
    from structlog.contextvars import bound_contextvars

    from django_partisan import registry

    caller = trace.SpanContext(int(trace_id, 16), 1, is_remote=True, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(caller))
    with (
        traced(),
        trace.get_tracer("shop").start_as_current_span("POST /orders", context),
        bound_contextvars(request_id=request_id),
    ):
        for task in tasks:
            name, _, number = task.partition(":")
            registry.definitions[name].source(*[int(number)] if number else []).delay()


@contextmanager
def traced() -> Iterator[None]:
    """Export spans if an endpoint is set, as an application does that has set up the SDK."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    yield
    provider.shutdown()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.real_parts.live_project.settings")
    django.setup()
    if sys.argv[1:2] == ["--request"]:
        of_a_request(*sys.argv[2:])
    elif len(sys.argv) > 1:
        many(sys.argv[1], int(sys.argv[2]))
    else:
        steadily()
