"""Start spans with their names and attributes; cut texts to a size that collectors accept."""

import os
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from django.apps import apps
from django.db import connections, router
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from django_partisan.config import observability
from django_partisan.telemetry.events.values import Run, TaskRef, whole
from django_partisan.tracing import spans

Attributes = dict[str, AttributeValue]

MESSAGE_MAX: Final = 1024
"""The maximum length of an error message, in characters."""
STACK_TRACE_MAX: Final = 8192
"""The maximum length of a stack trace, in characters: a batch of 512 spans stays within a collector's 4
MiB."""
_CUT: Final = "\n  [...]\n"


class SpanStarter:
    """Starts spans; what those of one kind, queue and processor share is built once."""

    def __init__(self, tracer: Tracer, manager_pid: int | None, slot: int | None) -> None:
        self._tracer = tracer
        self._client = f"{socket.gethostname()}:{manager_pid or os.getpid()}"
        self._slot = slot
        self._task_model = apps.get_model("django_partisan", "Task")
        self._described = cache(self._describe)

    def start(
        self,
        span: str,
        queue: str,
        processor: str | None = None,
        slot: int | None = None,
        *,
        context: Context | None = None,
        more: Mapping[str, AttributeValue] | None = None,
        links: Sequence[Link] = (),
        started: int | None = None,
    ) -> Span:
        """Start ``span``, a key of ``spans.SPANS``, with ``more`` attributes; by default, it starts now.

        For a run, pass the slot of its worker; the task is in the database of the worker's manager.
        """
        alias = router.db_for_write(self._task_model) if slot is None else None
        name, kind, shared = self._described(
            alias, observability.value("SPAN_NAMING"), span, queue, processor, slot
        )
        return self._tracer.start_span(name, context, kind, {**shared, **(more or {})}, links, started)

    def _describe(
        self, alias: str | None, naming: str, span: str, queue: str, processor: str | None, slot: int | None
    ) -> tuple[str, SpanKind, Attributes]:
        operation, kind, *_ = spans.SPANS[span]
        by_queue = processor is None or naming == observability.NAMING_QUEUE
        slot = self._slot if slot is None else slot
        values: dict[str, AttributeValue | None] = {
            spans.MESSAGING_SYSTEM: spans.SYSTEM,
            spans.OPERATION_NAME: operation,
            spans.OPERATION_TYPE: operation,
            spans.DESTINATION_NAME: queue,
            spans.PROCESSOR: processor,
            spans.CLIENT_ID: self._client if slot is None else f"{self._client}:{slot}",
            **server_of(connections.databases[alias or router.db_for_write(self._task_model)], os.environ),
        }
        declared = [attribute.name for attribute in spans.ATTRIBUTES if span in attribute.on]
        shared: Attributes = {name: value for name in declared if (value := values.get(name)) is not None}
        return f"{operation} {queue if by_queue else processor}", kind, shared


def server_of(database: Mapping[str, Any], environ: Mapping[str, str]) -> Attributes:
    """Return host and port of a database, from its settings or libpq's variables; never user or password."""
    options = database.get("OPTIONS") or {}
    host = database.get("HOST") or options.get("host") or environ.get("PGHOST") or environ.get("PGHOSTADDR")
    port = database.get("PORT") or options.get("port") or environ.get("PGPORT")
    if not port and "service" not in options:  # libpq reads the service file, which may set another port
        port = 5432
    found: Attributes = {}
    if host:
        found[spans.SERVER_ADDRESS] = str(host)
    if port and str(port).isdecimal():
        found[spans.SERVER_PORT] = int(port)
    return found


def of_task(task: Run | TaskRef, wait_seconds: float | None) -> Attributes:
    """Return the attributes with which the span of a run starts; ``wait_seconds`` may be unknown."""
    attributes: Attributes = {
        spans.MESSAGE_ID: str(task.id),
        spans.ATTEMPT: task.attempt,
        spans.RETRIES: task.retries,
        spans.POSTPONES: task.postpones,
        spans.PRIORITY: task.priority,
    }
    if wait_seconds is not None:
        attributes[spans.WAIT_SECONDS] = float(wait_seconds)
    return attributes


def message(text: str) -> str:
    """Return ``text``, cut if it is too long, without lone surrogates."""
    return whole(text[:MESSAGE_MAX])


def stack_trace(text: str) -> str:
    """Return ``text``, with its middle removed if it is too long, without lone surrogates."""
    if len(text) > STACK_TRACE_MAX:
        half = (STACK_TRACE_MAX - len(_CUT)) // 2
        text = text[:half] + _CUT + text[-half:]
    return whole(text)
