"""The types of documents: what a strict data stream would refuse is found."""

import pytest

from tools.ecs import ECS, problems_of, types_of

TYPES = {
    **ECS,
    "error": "keyword",
    "partisan.task.id": "keyword",
    "partisan.task.wait_ns": "long",
    "partisan.flag": "boolean",
}
GOOD = {"@timestamp": "2026-11-24T08:00:00.000Z", "message": "hello", "event": {"id": "1"}}


def test_a_good_document_has_no_problem():
    more = {"partisan.task.wait_ns": 5, "partisan": {"flag": True}, "labels.any": "x", "tags": ["a", "b"]}

    assert problems_of({**GOOD, **more}, TYPES) == []


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("level", "info", "level is unknown"),
        ("partisan.task.id", 5, "partisan.task.id is 5, which is no keyword"),
        ("partisan.task.wait_ns", "5", "partisan.task.wait_ns is '5', which is no long"),
        ("partisan.task.wait_ns", True, "partisan.task.wait_ns is True, which is no long"),
        ("partisan.task.wait_ns", 2**63, f"partisan.task.wait_ns is {2**63}, which is no long"),
        ("partisan.flag", "yes", "partisan.flag is 'yes', which is no boolean"),
        ("@timestamp", "soon", "@timestamp is 'soon', which is no date"),
        ("@timestamp", "2026-11-24T08:00:00", "@timestamp is '2026-11-24T08:00:00', which is no date"),
        ("tags", ["a", 1], "tags is ['a', 1], which is no keyword"),
        ("labels.any", 1, "labels.any is 1, which is no keyword"),
    ],
)
def test_a_wrong_field_is_named(field, value, problem):
    assert problems_of({**GOOD, field: value}, TYPES) == [problem]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"message": "hello"}, "@timestamp is missing"),
        ({**GOOD, "error": "x", "error.type": "E"}, "error is a value and a parent"),
        ({**GOOD, "event.id": "2"}, "event.id is there twice"),
    ],
)
def test_a_document_has_its_time_and_each_field_once_as_a_value_or_a_parent(document, problem):
    assert problems_of(document, TYPES) == [problem]


def test_types_of_a_mapping_are_found_at_any_depth():
    properties = {"a": {"properties": {"b": {"type": "long"}}}, "c": {"type": "keyword"}}

    assert types_of(properties) == {"a.b": "long", "c": "keyword"}
