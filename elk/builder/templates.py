"""The index templates of our data streams, and the component template that types the log table's fields."""

from collections.abc import Iterator
from typing import Any, Final

from django_partisan.logs.fields import COMMON, Field
from django_partisan.logs.table import LOG_EVENTS

COMPONENT: Final = "partisan@mappings"
CUSTOM: Final = "partisan@custom"
PATTERN: Final = "logs-partisan.*-*"
KEYWORD_CHARACTERS_MAX: Final = 1024
"""Longer keywords are stored and shown, but not found: the limit of ECS."""
KEYWORD: Final = {"type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX}

_RUN: Final = "Run in the tests, on OpenSearch 2.19.6."
_NOT_RUN: Final = "Checked for shape only: Elasticsearch cannot be had where the tests run."
# Those of Elasticsearch, which may be turned off there, and the users' own.
_OPTIONAL: Final = ["logs@mappings", "logs@settings", "ecs@mappings", "logs@custom", CUSTOM]
_COMPOSED: Final = ["logs@mappings", "logs@settings", COMPONENT, "logs@custom", CUSTOM, "ecs@mappings"]


def component_template() -> dict[str, Any]:
    """Return the mapping of every field of the log table: no type depends on what the server brings along."""
    properties: dict[str, Any] = {}
    for field in mapped_fields():
        *parents, last = field.name.split(".")
        place = properties
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        place[last] = _mapping_of(field)
    labels = {"path_match": "labels.*", "match_mapping_type": "*", "mapping": KEYWORD}
    mappings = {
        "date_detection": False,
        "dynamic_templates": [{"partisan_labels": labels}],
        "properties": properties,
    }
    return {"_meta": _meta(_RUN), "template": {"mappings": mappings}}


def index_template() -> dict[str, Any]:
    """Return the template for Elasticsearch: ours, between the parts that the server manages."""
    return {
        **_template(_COMPOSED, _NOT_RUN),
        "ignore_missing_component_templates": _OPTIONAL,
        "allow_auto_create": True,
    }


def opensearch_index_template() -> dict[str, Any]:
    """Return the template for OpenSearch, which has no such parts and refuses to be told of missing ones."""
    return _template([COMPONENT, CUSTOM], _RUN)


def mapped_fields() -> list[Field]:
    """Return the fields that the component template declares, sorted by name; labels have a rule instead."""
    fields = {field.name: field for field in _all_fields() if "*" not in field.name}
    return [fields[name] for name in sorted(fields)]


def _meta(tested: str) -> dict[str, str]:
    described = f"django-partisan; install with elasticsearch/install.sh. {tested}"
    return {"description": described, "managed_by": "django-partisan"}


def _template(composed_of: list[str], tested: str) -> dict[str, Any]:
    # Last, so that the rules of every component come before it.
    strings = {"match_mapping_type": "string", "mapping": KEYWORD}
    return {
        "_meta": _meta(tested),
        "index_patterns": [PATTERN],
        "priority": 200,
        "data_stream": {},
        "composed_of": composed_of,
        "template": {"mappings": {"dynamic_templates": [{"partisan_strings": strings}]}},
    }


def _all_fields() -> Iterator[Field]:
    yield from COMMON
    for event in LOG_EVENTS.values():
        yield from event.fields


def _mapping_of(field: Field) -> dict[str, Any]:
    if field.type == "keyword":
        return KEYWORD
    if field.name == "@timestamp":
        # Elasticsearch ignores malformed values in logs by default, which it forbids for this field.
        return {"type": "date", "ignore_malformed": False}
    return {"type": "match_only_text" if field.type == "text" else field.type}
