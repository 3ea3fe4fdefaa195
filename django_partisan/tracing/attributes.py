"""Names and attributes that spans have at their start; texts cut to a size that collectors accept."""

import os
import socket
from collections.abc import Mapping
from typing import Any, Final

from django.apps import apps
from django.db import connections, router
from opentelemetry.util.types import AttributeValue

from django_partisan.config import observability
from django_partisan.telemetry.events.values import Run, TaskRef
from django_partisan.tracing import spans

Attributes = dict[str, AttributeValue]

MESSAGE_MAX: Final = 1024
"""The maximum length of an error message, in characters."""
STACK_TRACE_MAX: Final = 8192
"""The maximum length of a stack trace, in characters: a batch of 512 spans stays within a collector's 4
MiB."""
DEFAULT_PORT: Final = 5432
_CUT: Final = "\n  [...]\n"


class SpanDescriptions:
    """The names and attributes that all spans of one kind, queue and processor share; each is built once."""

    def __init__(self, manager_pid: int | None, slot: int | None) -> None:
        self._client = f"{socket.gethostname()}:{manager_pid or os.getpid()}"
        self._slot = slot
        self._task_model = apps.get_model("django_partisan", "Task")
        self._built: dict[tuple[Any, ...], tuple[str, Attributes]] = {}

    def of(
        self, span: str, queue: str, processor: str | None = None, slot: int | None = None
    ) -> tuple[str, Attributes]:
        """Return the name of ``span`` and its attributes that do not depend on the task; do not modify them.

        For a run, pass the slot of its worker; the task is in the database of the worker's manager.
        """
        alias = router.db_for_write(self._task_model) if slot is None else None
        key = (alias, observability.value("SPAN_NAMING"), span, queue, processor, slot)
        found = self._built.get(key)
        if found is None:
            found = self._built[key] = self._build(*key)
        return found

    def _build(
        self, alias: str | None, naming: str, span: str, queue: str, processor: str | None, slot: int | None
    ) -> tuple[str, Attributes]:
        spec = spans.SPANS[span]
        by_queue = processor is None or naming == observability.NAMING_QUEUE
        built: Attributes = {spans.MESSAGING_SYSTEM: spans.SYSTEM, spans.DESTINATION_NAME: queue}
        built[spans.OPERATION_NAME] = spec.operation
        if spec.typed:
            built[spans.OPERATION_TYPE] = spec.operation
        if processor is not None and span != spans.BATCH_SEND:
            built[spans.PROCESSOR] = processor
        if span in (spans.PROCESS, spans.CLAIM, spans.SETTLE, spans.SCHEDULE):
            slot = self._slot if slot is None else slot
            built[spans.CLIENT_ID] = self._client if slot is None else f"{self._client}:{slot}"
        database = connections.databases[alias or router.db_for_write(self._task_model)]
        return f"{spec.operation} {queue if by_queue else processor}", built | server_of(database, os.environ)


def server_of(database: Mapping[str, Any], environ: Mapping[str, str]) -> Attributes:
    """Return host and port of a database, from its settings or libpq's variables; never user or password."""
    options = database.get("OPTIONS") or {}
    host = database.get("HOST") or options.get("host") or environ.get("PGHOST") or environ.get("PGHOSTADDR")
    port = database.get("PORT") or options.get("port") or environ.get("PGPORT")
    found: Attributes = {}
    if host:
        found[spans.SERVER_ADDRESS] = str(host)
    if not port and "service" not in options:  # libpq reads the service file, which may set another port
        port = DEFAULT_PORT
    if port and str(port).isdecimal():
        found[spans.SERVER_PORT] = int(port)
    return found


def of_run(common: Attributes, run: Run) -> Attributes:
    """Return the attributes with which the span of a run starts."""
    attributes = of_task(common, run)
    attributes[spans.WAIT_SECONDS] = float(run.wait_seconds)
    return attributes


def of_task(common: Attributes, task: Run | TaskRef) -> Attributes:
    """Return the attributes of a run whose wait is unknown."""
    return {
        **common,
        spans.MESSAGE_ID: str(task.id),
        spans.ATTEMPT: task.attempt,
        spans.RETRIES: task.retries,
        spans.POSTPONES: task.postpones,
        spans.PRIORITY: task.priority,
    }


def message(text: str) -> str:
    """Return ``text``, cut if it is too long, without lone surrogates."""
    return _encodable(text[:MESSAGE_MAX])


def stack_trace(text: str) -> str:
    """Return ``text``, with its middle removed if it is too long, without lone surrogates."""
    if len(text) > STACK_TRACE_MAX:
        half = (STACK_TRACE_MAX - len(_CUT)) // 2
        text = text[:half] + _CUT + text[-half:]
    return _encodable(text)


def _encodable(text: str) -> str:
    """Replace lone surrogates; a single one would prevent the export of the whole batch of spans."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
