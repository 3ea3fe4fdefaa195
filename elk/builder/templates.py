"""The index template of our data streams, and the component template that maps the log table's fields."""

from collections.abc import Iterator
from typing import Any, Final

from django_partisan.logs.fields import COMMON, Field
from django_partisan.logs.table import LOG_EVENTS

COMPONENT: Final = "partisan@mappings"
PATTERN: Final = "logs-partisan.*-*"
KEYWORD_CHARACTERS_MAX: Final = 1024
"""Longer keywords are stored and shown, but not found: the limit of ECS."""

_META: Final = {
    "description": (
        "django-partisan; install with elasticsearch/install.sh. Run in the tests, where it types every "
        "field of shipped documents in a stand-in for Elasticsearch. No Elasticsearch runs there."
    ),
    "managed_by": "django-partisan",
}


def component_template() -> dict[str, Any]:
    """Return the mapping of every field of ours, and of the ECS field that needs a type of its own."""
    properties: dict[str, Any] = {}
    for field in mapped_fields():
        *parents, last = field.name.split(".")
        place = properties
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        place[last] = _mapping_of(field)
    labels = {
        "path_match": "labels.*",
        "match_mapping_type": "*",
        "mapping": {"type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX},
    }
    mappings = {"dynamic_templates": [{"partisan_labels": labels}], "properties": properties}
    return {"_meta": _META, "template": {"mappings": mappings}}


def index_template() -> dict[str, Any]:
    """Return the template of the data streams: ours, between the parts that Elasticsearch manages."""
    return {
        "_meta": _META,
        "index_patterns": [PATTERN],
        "priority": 200,
        "data_stream": {},
        "composed_of": [
            "logs@mappings",
            "logs@settings",
            COMPONENT,
            "logs@custom",
            "partisan@custom",
            "ecs@mappings",
        ],
        "ignore_missing_component_templates": ["logs@custom", "partisan@custom"],
        "allow_auto_create": True,
    }


def mapped_fields() -> list[Field]:
    """Return the fields that the component template declares, sorted by name."""
    fields = {field.name: field for field in _all_fields()}
    return [
        fields[name] for name in sorted(fields) if name.startswith("partisan.") or name == "error.stack_trace"
    ]


def _all_fields() -> Iterator[Field]:
    yield from COMMON
    for event in LOG_EVENTS.values():
        yield from event.fields


def _mapping_of(field: Field) -> dict[str, Any]:
    if field.type == "keyword":
        return {"type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX}
    return {"type": field.type}
