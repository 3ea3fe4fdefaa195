"""The index templates of the data streams, and the component template with the types of all log fields."""

from collections.abc import Iterator
from typing import Any, Final

from django_partisan.logs.fields import COMMON, Field
from django_partisan.logs.table import LOG_EVENTS

COMPONENT: Final = "partisan@mappings"
CUSTOM: Final = "partisan@custom"
PATTERN: Final = "logs-partisan.*-*"
KEYWORD_CHARACTERS_MAX: Final = 1024
"""The length limit of keywords, from ECS. Longer ones are stored, but searches do not find them."""
KEYWORD: Final = {"type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX}

_RUN: Final = "Run in the tests, on OpenSearch 2.19.6."
_NOT_RUN: Final = "Checked for shape only: the tests run no Elasticsearch."
# Components of Elasticsearch, which can be disabled there, and those that users may define.
_OPTIONAL: Final = ["logs@mappings", "logs@settings", "ecs@mappings", "logs@custom", CUSTOM]
_COMPOSED: Final = ["logs@mappings", "logs@settings", COMPONENT, "logs@custom", CUSTOM, "ecs@mappings"]


def component_template() -> dict[str, Any]:
    """Return the mappings of all log fields, so that no type depends on the templates of the server."""
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
    """Return the index template for Elasticsearch, which also uses the components that the server manages."""
    return {
        **_template(_COMPOSED, _NOT_RUN),
        "ignore_missing_component_templates": _OPTIONAL,
        "allow_auto_create": True,
    }


def opensearch_index_template() -> dict[str, Any]:
    """Return the index template for OpenSearch, which has no such components and refuses missing ones."""
    return _template([COMPONENT, CUSTOM], _RUN)


def mapped_fields() -> list[Field]:
    """Return the declared fields, sorted by name. Labels are excluded: they have a dynamic template."""
    fields = {field.name: field for field in _all_fields() if "*" not in field.name}
    return [fields[name] for name in sorted(fields)]


def _meta(tested: str) -> dict[str, str]:
    described = f"django-partisan; install with elasticsearch/install.sh. {tested}"
    return {"description": described, "managed_by": "django-partisan"}


def _template(composed_of: list[str], tested: str) -> dict[str, Any]:
    # The index template's own rules come last, after those of every component.
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
        # By default, Elasticsearch ignores malformed values in logs, but it forbids that for this field.
        return {"type": "date", "ignore_malformed": False}
    return {"type": "match_only_text" if field.type == "text" else field.type}
