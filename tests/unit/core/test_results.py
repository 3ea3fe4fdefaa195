"""Results of runs as JSON: what is converted, and what is refused, with its place."""

import json
from typing import Any

import pytest

from django_partisan.exceptions import ResultNotJSON, ResultTooLarge
from django_partisan.results import BYTES_MAX, encode


class Other:
    def __repr__(self) -> str:
        return "<other>"


def endless() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("ä😀", "ä😀"),
        ((1, (2, b"bytes")), [1, [2, "bytes"]]),
        ({"a": {"b": [None]}, b"c": range(2)}, {"a": {"b": [None]}, "c": [0, 1]}),
    ],
)
def test_a_json_value_is_stored_and_sequences_mappings_and_bytes_become_one(value: Any, stored: Any):
    assert json.loads(encode("f", value)) == stored


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({1}, "the result is {1} of type set, which is not a JSON value"),
        (Other(), "the result is <other> of type Other, which is not a JSON value"),
        (float("inf"), "the result is inf, which JSON cannot represent"),
        ({"a": [1, float("nan")]}, "the result['a'][1] is nan, which JSON cannot represent"),
        ({"a": {1: 2}}, "the result['a'] has the key 1, which is not a string"),
        ("a\0", "the result contains a NUL character, which PostgreSQL's JSON cannot store"),
        ({"\0": 1}, "the result['\\x00'] (its key) contains a NUL character"),
        (["\ud800"], "the result[0] contains a lone surrogate, which PostgreSQL's JSON cannot store"),
        (b"\xff", "the result is b'\\xff' of type bytes, which is not a JSON value"),
        (endless(), "the result is nested too deeply or contains itself"),
        ([10**5000], "the result[0] has more digits than Python converts to text"),
    ],
)
def test_a_value_that_is_no_json_is_refused_with_its_place(value: Any, fault: str):
    with pytest.raises(ResultNotJSON) as caught:
        encode("shop.tasks.f", value)

    assert str(caught.value).startswith(f"shop.tasks.f returned a value that cannot be stored: {fault}")
    assert caught.value.reason == "result_not_json"


def test_a_result_has_at_most_a_mebibyte():
    longest = "x" * (BYTES_MAX - 2)  # plus two quotation marks

    assert len(encode("f", longest)) == BYTES_MAX
    with pytest.raises(
        ResultTooLarge, match=r"f returned 1,048,577 bytes of JSON; expected at most 1,048,576"
    ):
        encode("f", longest + "x")
