"""The templates map the log table, field by field."""

from django_partisan.logs.fields import COMMON
from django_partisan.logs.table import LOG_EVENTS
from tests.unit.elk import files
from tools.ecs import ECS, LABELS, types_of

TABLE = {field.name: field.type for field in COMMON} | {
    field.name: field.type for event in LOG_EVENTS.values() for field in event.fields
}
COMPONENT = files.read_json("elasticsearch/component-template.json")
INDEX = files.read_json("elasticsearch/index-template.json")
MAPPED = types_of(COMPONENT["template"]["mappings"]["properties"])


def test_every_field_of_ours_is_mapped_by_the_type_of_the_log_table() -> None:
    ours = {name: kind for name, kind in TABLE.items() if name.startswith("partisan.")}

    assert {name: kind for name, kind in MAPPED.items() if name.startswith("partisan.")} == ours


def test_no_field_is_mapped_that_no_line_carries_and_a_stack_trace_is_a_wildcard() -> None:
    assert MAPPED.keys() <= TABLE.keys()
    assert MAPPED["error.stack_trace"] == "wildcard"


def test_every_other_field_is_typed_by_ecs_as_the_log_table_has_it() -> None:
    others = {
        name: kind for name, kind in TABLE.items() if name not in MAPPED and not name.startswith(LABELS)
    }

    assert others == {name: ECS[name].replace("match_only_text", "text") for name in others}


def test_labels_are_keywords_whatever_their_value() -> None:
    [rule] = COMPONENT["template"]["mappings"]["dynamic_templates"]

    assert rule["partisan_labels"]["path_match"] == "labels.*"
    assert rule["partisan_labels"]["match_mapping_type"] == "*"
    assert rule["partisan_labels"]["mapping"]["type"] == "keyword"


def test_an_unknown_field_is_no_reason_to_refuse_a_line() -> None:
    assert "dynamic" not in COMPONENT["template"]["mappings"]


def test_the_index_template_wins_over_the_managed_one_and_only_custom_parts_are_optional() -> None:
    assert INDEX["index_patterns"] == ["logs-partisan.*-*"]
    assert INDEX["priority"] == 200
    assert INDEX["data_stream"] == {}
    parts = INDEX["composed_of"]
    assert {"logs@mappings", "logs@settings", "ecs@mappings"} <= set(parts)
    assert parts.index("partisan@mappings") < parts.index("ecs@mappings")
    assert INDEX["ignore_missing_component_templates"] == [part for part in parts if part.endswith("@custom")]
