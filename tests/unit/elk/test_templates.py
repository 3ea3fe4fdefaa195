"""The templates declare the types of the log table's fields; tests/real_parts/ loads them into a server."""

from typing import Any

from django_partisan.logs.fields import COMMON
from django_partisan.logs.table import LOG_EVENTS
from tests.support.ecs import ECS
from tests.unit.elk import files

TABLE = {field.name: field.type for field in COMMON} | {
    field.name: field.type for event in LOG_EVENTS.values() for field in event.fields
}
COMPONENT = files.read_json("elasticsearch/component-template.json")["template"]["mappings"]
ELASTICSEARCH = files.read_json("elasticsearch/index-template.json")
OPENSEARCH = files.read_json("elasticsearch/index-template-opensearch.json")
MAPPED = files.types_of(COMPONENT["properties"])


def _dynamic(mappings: dict[str, Any]) -> list[str]:
    return [name for rule in mappings["dynamic_templates"] for name in rule]


def test_every_field_of_the_log_table_is_mapped_and_no_other_but_labels() -> None:
    table = {name: kind for name, kind in TABLE.items() if name != "labels.*"}

    assert {name: kind.replace("match_only_text", "text") for name, kind in MAPPED.items()} == table


def test_every_field_that_is_not_ours_has_the_type_of_ecs() -> None:
    of_ecs = {name: kind for name, kind in ECS.items() if name != "labels.*"}

    assert {name: kind for name, kind in MAPPED.items() if not name.startswith("partisan.")} == of_ecs


def test_labels_are_keywords_whatever_their_value_and_dates_are_not_guessed() -> None:
    [rule] = COMPONENT["dynamic_templates"]

    assert rule["partisan_labels"]["path_match"] == "labels.*"
    assert rule["partisan_labels"]["match_mapping_type"] == "*"
    assert rule["partisan_labels"]["mapping"]["type"] == "keyword"
    assert COMPONENT["date_detection"] is False


def test_the_time_cannot_be_malformed_as_elasticsearch_demands() -> None:
    assert COMPONENT["properties"]["@timestamp"] == {"type": "date", "ignore_malformed": False}


def test_an_unknown_field_is_no_reason_to_refuse_a_line() -> None:
    assert "dynamic" not in COMPONENT


def test_the_index_templates_win_over_the_managed_one_and_type_strings_of_others_last() -> None:
    for template in (ELASTICSEARCH, OPENSEARCH):
        assert template["index_patterns"] == ["logs-partisan.*-*"]
        assert template["priority"] == 200
        assert template["data_stream"] == {}
        assert _dynamic(template["template"]["mappings"]) == ["partisan_strings"]


def test_on_elasticsearch_only_our_own_part_must_exist_and_ours_come_before_the_rules_of_ecs() -> None:
    parts = ELASTICSEARCH["composed_of"]

    assert set(parts) - {"partisan@mappings"} == set(ELASTICSEARCH["ignore_missing_component_templates"])
    assert {"logs@mappings", "logs@settings", "ecs@mappings"} <= set(parts)
    assert parts.index("partisan@mappings") < parts.index("partisan@custom") < parts.index("ecs@mappings")


def test_on_opensearch_nothing_is_composed_or_said_that_it_does_not_know() -> None:
    assert OPENSEARCH["composed_of"] == ["partisan@mappings", "partisan@custom"]
    assert OPENSEARCH.keys() == ELASTICSEARCH.keys() - {
        *("ignore_missing_component_templates", "allow_auto_create")
    }
