"""Kibana's saved objects refer to each other, and to fields that exist."""

import json
import re
from typing import Any

from tests.unit.elk import files
from tests.unit.elk.test_templates import TABLE

OBJECTS = files.saved_objects()
BY_KEY = {(each["type"], each["id"]): each for each in OBJECTS}


def _source(saved: dict[str, Any]) -> dict[str, Any]:
    return json.loads(saved["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])  # type: ignore[no-any-return]


def _of(kind: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["type"] == kind]


def test_there_are_a_data_view_searches_charts_and_a_dashboard() -> None:
    assert {each["type"] for each in OBJECTS} == {"index-pattern", "search", "visualization", "dashboard"}
    assert len(BY_KEY) == len(OBJECTS)


def test_each_reference_is_to_an_object_that_comes_before() -> None:
    seen = set()
    for each in OBJECTS:
        for reference in each["references"]:
            assert (reference["type"], reference["id"]) in seen
        seen.add((each["type"], each["id"]))


def test_the_data_view_is_of_the_data_streams_of_the_index_template() -> None:
    [view] = _of("index-pattern")
    [pattern] = files.read_json("elasticsearch/index-template.json")["index_patterns"]

    assert view["attributes"]["title"] == pattern
    assert view["attributes"]["timeFieldName"] == "@timestamp"


def test_searches_and_charts_take_their_data_view_by_reference() -> None:
    for each in [*_of("search"), *_of("visualization")]:
        [reference] = each["references"]
        assert reference["name"] == _source(each)["indexRefName"]
        assert reference["type"] == "index-pattern"


def test_the_dashboard_has_a_reference_for_each_panel_and_no_panels_overlap() -> None:
    [dashboard] = _of("dashboard")
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    expected = [f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels]
    assert [reference["name"] for reference in dashboard["references"]] == expected

    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridData"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 48
        taken |= cells


def test_every_field_that_is_asked_for_is_one_of_the_log_table() -> None:
    fields = set()
    for each in _of("search"):
        fields.update(each["attributes"]["columns"])
    for each in [*_of("search"), *_of("visualization")]:
        fields.update(re.findall(r"([\w@.]+) :", _source(each)["query"]["query"]))
    for each in _of("visualization"):
        for aggregation in json.loads(each["attributes"]["visState"])["aggs"]:
            fields.update({aggregation["params"]["field"]} if "field" in aggregation["params"] else set())
    [view] = _of("index-pattern")
    fields.update(json.loads(view["attributes"]["fieldFormatMap"]))

    assert len(fields) > 8
    assert fields <= TABLE.keys()
