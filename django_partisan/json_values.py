"""Encode values as JSON, and describe values that PostgreSQL's JSON cannot store, with their place."""

import json
import math
from collections.abc import Iterator
from typing import Any, Final

encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
"""Return a value as ASCII JSON text; raises ``TypeError`` or ``ValueError`` for most that are not JSON."""


def may_contain_unstorable_text(text: str) -> bool:
    """Return whether JSON text may contain a string that PostgreSQL refuses and ``json`` accepts.

    Non-ASCII characters are escaped in the text, so each such string has one of these two sequences.
    """
    return "\\u0000" in text or "\\ud" in text


def faults(place: str, value: Any) -> Iterator[str]:
    """Yield a description of each part of a value that cannot be stored, including what ``json`` accepts.

    The descriptions call the value ``place``.
    """
    try:
        yield from _value_faults(place, value)
    except RecursionError:
        yield f"{place} is nested too deeply or contains itself"


def _value_faults(place: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from text_faults(place, value)
    elif isinstance(value, int):
        try:
            int.__repr__(value)
        except ValueError:  # sys.set_int_max_str_digits()
            yield f"{place} has more digits than Python converts to text"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{place} is {value!r}, which JSON cannot represent"
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _value_faults(f"{place}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{place} has the key {key!r}, which is not a string"
            else:
                yield from text_faults(f"{place}[{key!r}] (its key)", key)
            yield from _value_faults(f"{place}[{key!r}]", item)
    elif value is not None:
        yield f"{place} is {value!r} of type {type(value).__qualname__}, which is not a JSON value"


def text_faults(place: str, text: str) -> Iterator[str]:
    """Yield the reason why a string cannot be stored, if there is one."""
    if "\0" in text:
        yield f"{place} contains a NUL character, which PostgreSQL's JSON cannot store"
    elif any("\ud800" <= character <= "\udfff" for character in text):
        yield f"{place} contains a lone surrogate, which PostgreSQL's JSON cannot store"
