"""Values that PostgreSQL's JSON holds, and where the others stand in what they are a part of."""

import json
import math
from collections.abc import Iterator
from typing import Any, Final

encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
"""Return a value as JSON text in ASCII; raises ``TypeError`` or ``ValueError`` for most that are not JSON."""


def may_hold_bad_text(text: str) -> bool:
    """Return whether JSON text may hold a string that PostgreSQL refuses, which ``json`` does not.

    Non-ASCII is escaped in the text, so these two marks are all that such a string can show.
    """
    return "\\u0000" in text or "\\ud" in text


def faults(place: str, value: Any) -> Iterator[str]:
    """Yield what in a value cannot be stored, and why, including what ``json`` itself accepts.

    ``place`` names the value.
    """
    try:
        yield from _of(place, value)
    except RecursionError:
        yield f"{place} is nested too deeply or contains itself"


def _of(place: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from text_faults(place, value)
    elif isinstance(value, int):
        try:
            int.__repr__(value)
        except ValueError:  # sys.set_int_max_str_digits()
            yield f"{place} has more digits than Python writes"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{place} is {value!r}, which JSON cannot hold"
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _of(f"{place}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{place} has the key {key!r}, which is no string"
            else:
                yield from text_faults(f"{place}[{key!r}] (its key)", key)
            yield from _of(f"{place}[{key!r}]", item)
    elif value is not None:
        yield f"{place} is {value!r} of type {type(value).__qualname__}, which is no JSON value"


def text_faults(place: str, text: str) -> Iterator[str]:
    """Yield why a string cannot be stored."""
    if "\0" in text:
        yield f"{place} contains a NUL character, which PostgreSQL's JSON cannot hold"
    elif any("\ud800" <= character <= "\udfff" for character in text):
        yield f"{place} contains a lone surrogate, which PostgreSQL's JSON cannot hold"
