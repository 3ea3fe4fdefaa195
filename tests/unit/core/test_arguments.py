"""Arguments are JSON: which are refused, with which name, and which calls are duplicates."""

import datetime
import enum
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from django_partisan import arguments

PROCESSOR = "Letter"


class Colour(enum.IntEnum):
    RED = 1


def encode(*args: Any, **kwargs: Any) -> str:
    return arguments.encode(PROCESSOR, args, kwargs)


def key(*args: Any, **kwargs: Any) -> uuid.UUID:
    return arguments.unique_key(PROCESSOR, args, kwargs, encode(*args, **kwargs))


def endless() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1.5,
        2**63,
        "",
        "\u00e9 \U0001f4ee",
        "\\ud800 as text",
        "\\u0000 as text",
        [],
        {"a": [1, {"b": None}]},
        Colour.RED,
    ],
)
def test_json_values_come_back_as_they_went(value):
    assert arguments.decode(encode(value, 1, name=value)) == ([value, 1], {"name": value})


def test_a_tuple_comes_back_as_a_list():
    assert arguments.decode(encode((1, (2,)))) == ([[1, [2]]], {})


def test_a_row_of_version_1_without_args_or_kwargs_is_read():
    assert arguments.decode("{}") == ([], {})


def test_an_argument_of_a_megabyte_is_stored():
    text = "x" * 2**20

    assert arguments.decode(encode(text))[0] == [text]


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        (
            datetime.date(2026, 1, 2),
            "",
            "is datetime.date(2026, 1, 2) of type date, which is not a JSON value",
        ),
        (datetime.datetime(2026, 1, 2), "", "of type datetime, which is not a JSON value"),  # noqa: DTZ001
        (Decimal("1.5"), "", "is Decimal('1.5') of type Decimal, which is not a JSON value"),
        (uuid.UUID(int=1), "", "of type UUID, which is not a JSON value"),
        ({1, 2}, "", "is {1, 2} of type set, which is not a JSON value"),
        (b"bytes", "", "is b'bytes' of type bytes, which is not a JSON value"),
        (float("nan"), "", "is nan, which JSON cannot represent"),
        (float("inf"), "", "is inf, which JSON cannot represent"),
        ([0, float("-inf")], "[1]", "is -inf, which JSON cannot represent"),
        ("a\0b", "", "contains a NUL character, which PostgreSQL's JSON cannot store"),
        ({"k": ["a\0b"]}, "['k'][0]", "contains a NUL character, which PostgreSQL's JSON cannot store"),
        ("\ud800", "", "contains a lone surrogate, which PostgreSQL's JSON cannot store"),
        ("\ude00\ud83d", "", "contains a lone surrogate, which PostgreSQL's JSON cannot store"),
        ({1: "a"}, "", "has the key 1, which is not a string"),
        ({None: "a"}, "", "has the key None, which is not a string"),
        ({"k": {True: "a"}}, "['k']", "has the key True, which is not a string"),
        ({("a", 1): "a"}, "", "has the key ('a', 1), which is not a string"),
        ({"a\0b": 1}, "['a\\x00b'] (its key)", "contains a NUL character"),
        ([{"d": datetime.date(2026, 1, 2)}], "[0]['d']", "of type date, which is not a JSON value"),
        pytest.param(endless(), "", "is nested too deeply or contains itself", id="endless"),
        pytest.param(10**5000, "", "has more digits than Python converts to text", id="long number"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_the_name_of_the_argument(value, place, reason):
    assert_refused(value, place, reason)


def test_what_is_nested_too_deeply_is_refused_with_the_name_of_the_argument():
    assert_refused(deep(200_000), "", "is nested too deeply or contains itself")


def assert_refused(value: Any, place: str, reason: str) -> None:
    for call, name in ((lambda: encode(0, value), "args[1]"), (lambda: encode(who=value), "kwargs['who']")):
        with pytest.raises(TypeError) as refused:
            call()

        assert str(refused.value).startswith(f"Letter: argument {name}{place} ")
        assert reason in str(refused.value)


def test_the_name_of_a_keyword_argument_is_checked_too():
    with pytest.raises(TypeError, match=r"argument kwargs\['a\\x00b'\] \(its name\) contains a NUL"):
        encode(**{"a\0b": 1})


class Fickle(dict[str, int]):
    """A dictionary that cannot be read the first time."""

    read = 0

    def items(self) -> Any:
        self.read += 1
        if self.read == 1:
            raise ValueError("no such luck")
        return super().items()


def test_what_json_refuses_for_reasons_of_its_own_is_refused_with_those():
    with pytest.raises(TypeError, match=r"^Letter: the arguments cannot be stored as JSON: no such luck"):
        encode(Fickle(a=1))


def test_duplicates_have_the_same_processor_args_and_kwargs():
    assert key(1, "a", b=2) == key(1, "a", b=2)
    assert key(1) != key(2)
    assert key(1) != key(a=1)
    assert key() != arguments.unique_key("Parcel", (), {}, encode())


def test_the_order_of_keys_makes_no_difference_between_duplicates():
    assert key(a=1, b=2) == key(b=2, a=1)
    assert key({"a": 1, "b": [{"c": 1, "d": 2}]}) == key({"b": [{"d": 2, "c": 1}], "a": 1})
    assert key([1, 2]) != key([2, 1])


def test_a_tuple_and_a_list_are_the_same_argument():
    assert key((1, 2)) == key([1, 2])


def test_true_and_one_are_different_arguments():
    assert key(True) != key(1)


def test_the_text_is_what_version_1_stored():
    assert json.loads(encode(1, a="b")) == {"args": [1], "kwargs": {"a": "b"}}


def test_arguments_longer_than_postgresql_holds_are_refused_with_their_length():
    text = "x" * 2**20

    with pytest.raises(ValueError, match=r"Letter: .* 268,\d{3},\d{3} bytes .* at most 268,435,455\. Store"):
        arguments.encode("Letter", ([text] * 2**8,), {})
