"""Types of document fields: those of the Elastic Common Schema we meet, and those of index templates.

``problems_of()`` says what a strict data stream would refuse in a document.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

ECS: Final[Mapping[str, str]] = {
    "@timestamp": "date",
    "agent.ephemeral_id": "keyword",
    "agent.id": "keyword",
    "agent.name": "keyword",
    "agent.type": "keyword",
    "agent.version": "keyword",
    "data_stream.dataset": "constant_keyword",
    "data_stream.namespace": "constant_keyword",
    "data_stream.type": "constant_keyword",
    "ecs.version": "keyword",
    "error.message": "match_only_text",
    "error.stack_trace": "wildcard",
    "error.type": "keyword",
    "event.action": "keyword",
    "event.dataset": "keyword",
    "event.duration": "long",
    "event.id": "keyword",
    "event.kind": "keyword",
    "event.module": "keyword",
    "event.outcome": "keyword",
    "event.reason": "keyword",
    "host.name": "keyword",
    "log.file.path": "keyword",
    "log.level": "keyword",
    "log.logger": "keyword",
    "message": "match_only_text",
    "process.exit_code": "long",
    "process.name": "keyword",
    "process.pid": "long",
    "service.environment": "keyword",
    "service.name": "keyword",
    "service.node.name": "keyword",
    "service.version": "keyword",
    "span.id": "keyword",
    "tags": "keyword",
    "trace.id": "keyword",
    "transaction.id": "keyword",
}
"""From the field definitions of ECS 9.4.0; ``labels.*`` are keywords too."""

LABELS: Final = "labels."
_INT64: Final = range(-(2**63), 2**63)


def types_of(properties: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the type of each field that the ``properties`` of a mapping declare."""
    types: dict[str, str] = {}
    for name, declared in properties.items():
        if "properties" in declared:
            types |= types_of(declared["properties"], f"{prefix}{name}.")
        else:
            types[prefix + name] = declared["type"]
    return types


def problems_of(document: Mapping[str, Any], types: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a document whose fields must all be known, and of their types."""
    names: set[str] = set()
    problems = []
    for name, value in _flat(document):
        if name in names:
            problems.append(f"{name} is there twice")
        names.add(name)
        kind = "keyword" if name.startswith(LABELS) else types.get(name)
        if kind is None:
            problems.append(f"{name} is unknown")
        elif not all(_fits(item, kind) for item in (value if isinstance(value, list) else [value])):
            problems.append(f"{name} is {value!r}, which is no {kind}")
    if "@timestamp" not in names:
        problems.append("@timestamp is missing")
    parents = {name[: index + 1] for name in names for index in _dots(name)}
    return problems + [f"{name} is a value and a parent" for name in names if f"{name}." in parents]


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _dots(name: str) -> Iterator[int]:
    return (index for index, letter in enumerate(name) if letter == ".")


def _fits(value: Any, kind: str) -> bool:
    if kind == "long":
        return isinstance(value, int) and not isinstance(value, bool) and value in _INT64
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "date":
        return isinstance(value, str) and _is_date(value)
    return isinstance(value, str)


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False
