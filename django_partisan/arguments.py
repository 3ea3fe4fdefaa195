"""A task's arguments as JSON text: what may be stored, and when two calls are duplicates.

``run()`` sees what equals what was passed: a tuple may come back as a list, and a float from 1e16
as an int (PostgreSQL's jsonb writes it without an exponent).
"""

import json
import math
import uuid
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

LONGEST_TEXT: Final = 2**28 - 1
_PLAIN = frozenset({str, int, float, bool, type(None)})
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
# ``loads()`` skips space, which a row's text has not; ``raw_decode()`` takes 0.1 us more.
_decode: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_encode_sorted = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def encode(processor: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Return the arguments as JSON text.

    Raises ``TypeError`` naming the argument that PostgreSQL's JSON cannot store: a value that is not
    JSON, NaN or an infinity, a NUL character or a lone surrogate, a key that is not a string. Raises
    ``ValueError`` if the text is longer than PostgreSQL's JSON may be.
    """
    text = fault = ""
    try:
        text = _encode({"args": args, "kwargs": kwargs})
    except (TypeError, ValueError, RecursionError) as error:
        fault = f"the arguments cannot be stored as JSON: {error}"
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"{processor}: the arguments are {len(text):,} bytes of JSON, and PostgreSQL holds at most "
            f"{LONGEST_TEXT:,}; store the data elsewhere, and pass its key."
        )
    # Non-ASCII is escaped in the text, so these two marks are all that a bad string can show.
    if fault or "\\u0000" in text or "\\ud" in text or _hold_containers(args, kwargs):
        fault = next(_faults_of(args, kwargs), fault)
    if fault:
        raise TypeError(f"{processor}: {fault}.")
    return text


def unique_key(processor: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], text: str) -> uuid.UUID:
    """Return a key that duplicates share: the same processor, args and kwargs, in any order of keys."""
    if kwargs or _hold_containers(args, kwargs):
        text = _encode_sorted({"args": args, "kwargs": kwargs})
    digest = blake2b(f"{processor}\0{text}".encode(), digest_size=16).digest()
    return uuid.UUID(bytes=digest)


def decode(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Return args and kwargs of a row's JSON text; version 1 rows look the same."""
    arguments, _ = _decode(text, 0)
    try:
        return arguments["args"], arguments["kwargs"]
    except KeyError:
        return arguments.get("args", []), arguments.get("kwargs", {})


def _hold_containers(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Tell, without a walk, whether any value is a container, or of a subclass that may hide one."""
    return not (_PLAIN.issuperset(map(type, args)) and _PLAIN.issuperset(map(type, kwargs.values())))


def _faults_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Yield which arguments cannot be stored, and why: also what ``json`` itself does not refuse."""
    for key in kwargs:
        yield from _text_faults(f"kwargs[{key!r}] (its name)", key)
    places = [(f"args[{index}]", value) for index, value in enumerate(args)]
    for place, value in [*places, *((f"kwargs[{key!r}]", value) for key, value in kwargs.items())]:
        try:
            yield from _faults(place, value)
        except RecursionError:
            yield f"argument {place} is nested too deeply or contains itself"


def _faults(place: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _text_faults(place, value)
    elif isinstance(value, int):
        try:
            int.__repr__(value)
        except ValueError:  # sys.set_int_max_str_digits()
            yield f"argument {place} has more digits than Python writes"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"argument {place} is {value!r}, which JSON cannot hold"
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _faults(f"{place}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"argument {place} has the key {key!r}, which is no string"
            else:
                yield from _text_faults(f"{place}[{key!r}] (its key)", key)
            yield from _faults(f"{place}[{key!r}]", item)
    elif value is not None:
        yield f"argument {place} is {value!r} of type {type(value).__qualname__}, which is no JSON value"


def _text_faults(place: str, text: str) -> Iterator[str]:
    if "\0" in text:
        yield f"argument {place} contains a NUL character, which PostgreSQL's JSON cannot hold"
    elif any("\ud800" <= character <= "\udfff" for character in text):
        yield f"argument {place} contains a lone surrogate, which PostgreSQL's JSON cannot hold"
