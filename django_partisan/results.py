"""Encode the results of runs as JSON text, and refuse those that cannot be stored.

Sequences such as tuples become lists, mappings become objects, and bytes become text, as in Django's task
framework.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django_partisan import json_values
from django_partisan.exceptions import ResultNotJSON, ResultTooLarge

BYTES_MAX: Final = 2**20
"""The maximum length of a result's JSON text, in bytes."""
NONE: Final = "null"
"""The result of a run that returned ``None``."""
_PLACE: Final = "the result"


def encode(name: str, value: Any) -> str:
    """Return the result of a run of ``name`` as JSON text.

    Raises ``ResultNotJSON``, which names the place of the value that cannot be stored, and
    ``ResultTooLarge``.
    """
    if value is None:
        return NONE
    text = fault = ""
    try:
        value = _plain(value)
        text = json_values.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        fault = f"{_PLACE} is not JSON: {error}"
    if fault or isinstance(value, list | dict) or json_values.may_contain_unstorable_text(text):
        fault = next(json_values.faults(_PLACE, value), fault)
    if fault:
        raise ResultNotJSON(f"{name} returned a value that cannot be stored: {fault}.")
    if len(text) > BYTES_MAX:
        raise ResultTooLarge(
            f"{name} returned {len(text):,} bytes of JSON; expected at most {BYTES_MAX:,}. "
            "Store the data elsewhere, and return its key."
        )
    return text


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return value  # the caller refuses other types, and names the place of the value
