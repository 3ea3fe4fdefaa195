"""Format log records as lines of JSON in the Elastic Common Schema (ECS).

The library does not use ecs-logging, which takes 24 µs per line and raises on a key that is both a value and
a parent. A test compares the two on the fields they share.
"""

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from functools import cache, lru_cache, partial
from typing import Any, Final
from urllib.parse import unquote

from django_partisan.logs import truncation
from django_partisan.logs.context import current_fields, event_id, labels
from django_partisan.logs.fields import COMMON, of_error
from django_partisan.logs.running_task import KEYS, keys_in
from django_partisan.logs.table import LOG_EVENTS
from django_partisan.telemetry.events.values import ErrorInfo
from django_partisan.telemetry.redaction import cut

ECS_VERSION: Final = "9.4.0"
RECORD_FIELDS: Final = "partisan_fields"
"""The attribute of a log record that holds the declared fields."""

EVENT_CONSTANTS: Final = {
    "event.kind": "event",
    "event.module": "partisan",
    "event.dataset": "partisan.events",
}
_KNOWN: Final = frozenset(
    field.name for log_event in LOG_EVENTS.values() for field in log_event.fields
).union(("event.id", "event.action", "event.outcome", "trace.id", "span.id", "transaction.id"))
_LEFT_OUT: Final = frozenset(vars(logging.makeLogRecord({}))).union(
    {"message", "asctime", "taskName", RECORD_FIELDS, *KEYS}, (field.name for field in COMMON)
)
"""Attributes of records that are neither fields nor labels, except those in ``_KNOWN``."""

NAME_MAX_BYTES: Final = 256

_SERVICE_FIELD_OF: Final = {
    "service.name": "service.name",
    "service.version": "service.version",
    "deployment.environment": "service.environment",
    "deployment.environment.name": "service.environment",
    "service.instance.id": "service.node.name",
}
"""ECS fields by resource attribute; of two attributes for one field, the later one here takes precedence."""

_encode_text: Final = json.encoder.encode_basestring
encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class EcsFormatter(logging.Formatter):
    """A formatter for ECS with dotted keys; a line has at most ``max_bytes`` bytes with its line break."""

    def __init__(self, max_bytes: int = 4000) -> None:
        super().__init__()
        self._limit = max_bytes - 1  # without the line break
        self._constant = cache(_constant_members)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its line break."""
        message, fields = record.getMessage(), fields_of(record)
        line = self._line(record, message, fields)
        if truncation.is_longer(line, self._limit):
            return truncation.shorten(partial(self._line, record), message, fields, self._limit)
        return line

    def _line(self, record: logging.LogRecord, message: str, fields: Mapping[str, Any]) -> str:
        head = f'{{"@timestamp":"{_timestamp(record.created)}","log.level":"{record.levelname.lower()}"'
        constant = self._constant(record.name, record.processName or "", os.getpid())
        return f'{head},"message":{_encode_text(message)},{constant},{encode(fields)[1:]}'


class NestedFormatter(EcsFormatter):
    """A formatter for the same fields as nested objects, for tools that do not expand dotted keys."""

    def _line(self, record: logging.LogRecord, message: str, fields: Mapping[str, Any]) -> str:
        flat = json.loads(super()._line(record, message, fields))
        nested: dict[str, Any] = {}
        for name, value in flat.items():
            *parents, last = name.split(".")
            place = nested
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        return encode(nested)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record's fields except the constant ones; fields that belong to no log event become labels."""
    own: dict[str, Any] | None = record.__dict__.get(RECORD_FIELDS)
    if own is not None and (not record.exc_info or "error.type" in own):
        return own
    is_foreign = own is None and "event.id" not in record.__dict__
    fields = _context_fields(record) if is_foreign else {"event.id": event_id()}
    foreign: dict[str, Any] = {}
    for name, value in (own or record.__dict__).items():
        if name in _KNOWN:
            fields[name] = _plain(value)
        elif name not in _LEFT_OUT:
            foreign[name.removeprefix("labels.")] = value
    if foreign:  # otherwise no setting is read: the project may log before its settings are configured
        fields.update(labels(foreign))
    if record.exc_info and record.exc_info[1] is not None:
        fields.update(of_error(ErrorInfo.of(record.exc_info[1])))
    return fields


def _context_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of the span, bound context and run in which the project logged the line."""
    fields = current_fields()
    if keys := keys_in(record):
        fields |= {
            "partisan.queue.name": keys["partisan_queue"],
            "partisan.task.id": str(keys["partisan_task_id"]),
            "partisan.processor": keys["partisan_processor"],
            "partisan.task.attempt": keys["partisan_attempt"],
        }
    return fields


def _timestamp(created: float) -> str:
    """Return a Unix time, in seconds, in the format of ECS."""
    second = int(created)
    return f"{_to_the_second(second)}.{int((created - second) * 1000):03d}Z"


@lru_cache(maxsize=1)
def _to_the_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _constant_members(logger: str, process: str, pid: int) -> str:
    """Return the JSON members that are the same in every line of one logger in one process."""
    fields = {
        "ecs.version": ECS_VERSION,
        "log.logger": logger,
        "process.pid": pid,
        "process.name": process,
        **(EVENT_CONSTANTS if f"{logger}.".startswith("django_partisan.") else {}),
        **service_fields(),
    }
    return encode(fields)[1:-1]


def _plain(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case None | str() | int():
            return value
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return repr(value)


def service_fields(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the ``service.*`` fields from ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``.

    The name from ``OTEL_SERVICE_NAME`` takes precedence; malformed attributes are ignored.
    Source: OpenTelemetry's resource SDK specification.
    """
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    attributes = {unquote(key.strip()): unquote(value.strip()) for key, equals, value in pairs if equals}
    if environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = environ["OTEL_SERVICE_NAME"]
    return {
        field: cut(attributes[attribute], NAME_MAX_BYTES)
        for attribute, field in _SERVICE_FIELD_OF.items()
        if attributes.get(attribute)
    }
