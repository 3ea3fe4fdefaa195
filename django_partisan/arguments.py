"""Encode a task's arguments as JSON text, validate them, and compute the key that duplicates share.

``run()`` receives values that are equal to those passed, but types may differ: a tuple may come back as a
list, and a float of 1e16 or more as an int (PostgreSQL's jsonb writes it without an exponent).
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

from django_partisan import json_values

LONGEST_TEXT: Final = 2**28 - 1
_PLAIN = frozenset({str, int, float, bool, type(None)})
# ``loads()`` also skips surrounding spaces, which a row's text never has; ``raw_decode()`` takes 0.1 us more.
_decode: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_encode_sorted = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def encode(processor: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Return the arguments as JSON text.

    Raises ``TypeError`` naming the argument that PostgreSQL's JSON cannot store: a value that is not
    JSON, NaN or an infinity, a NUL character or a lone surrogate, or a key that is not a string. Raises
    ``ValueError`` if the text is too long for PostgreSQL's JSON.
    """
    text = fault = ""
    try:
        text = json_values.encode({"args": args, "kwargs": kwargs})
    except (TypeError, ValueError, RecursionError) as error:
        fault = f"the arguments cannot be stored as JSON: {error}"
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"{processor}: the arguments are {len(text):,} bytes of JSON; PostgreSQL stores at most "
            f"{LONGEST_TEXT:,}. Store the data elsewhere, and pass its key."
        )
    if fault or json_values.may_contain_unstorable_text(text) or _hold_containers(args, kwargs):
        fault = next(_faults_of(args, kwargs), fault)
    if fault:
        raise TypeError(f"{processor}: {fault}.")
    return text


def unique_key(processor: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], text: str) -> uuid.UUID:
    """Return the key that duplicates share: same processor, args and kwargs, whatever the order of keys."""
    if kwargs or _hold_containers(args, kwargs):
        text = _encode_sorted({"args": args, "kwargs": kwargs})
    digest = blake2b(f"{processor}\0{text}".encode(), digest_size=16).digest()
    return uuid.UUID(bytes=digest)


def decode(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the args and kwargs in a row's JSON text; rows of version 1 have the same format."""
    arguments, _ = _decode(text, 0)
    try:
        return arguments["args"], arguments["kwargs"]
    except KeyError:
        return arguments.get("args", []), arguments.get("kwargs", {})


def _hold_containers(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Return whether any value may contain others, judging by its type: subclasses of plain types count."""
    return not (_PLAIN.issuperset(map(type, args)) and _PLAIN.issuperset(map(type, kwargs.values())))


def _faults_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Yield a description of each argument that cannot be stored, including those that ``json`` accepts."""
    for key in kwargs:
        yield from json_values.text_faults(f"argument kwargs[{key!r}] (its name)", key)
    for index, value in enumerate(args):
        yield from json_values.faults(f"argument args[{index}]", value)
    for key, value in kwargs.items():
        yield from json_values.faults(f"argument kwargs[{key!r}]", value)
