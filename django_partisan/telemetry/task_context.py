"""What of a context a task's row can carry."""

import json
from collections.abc import Mapping
from typing import Any, Final

MAX_BYTES: Final = 4096
"""Longest carried context of one task, as JSON text."""

_ESCAPED_BYTES: Final = 12
"""The most bytes that JSON needs for one character."""
_JSON_MARKS: Final = 8
"""Quotes, colon, comma and blanks around each pair, with the braces."""


def can_be_stored(collected: Mapping[Any, Any]) -> bool:
    """Tell whether ``collected`` is text by text, of what PostgreSQL's JSON can hold, and not too long."""
    characters = 0
    for key, value in collected.items():
        if not isinstance(key, str) or not isinstance(value, str):
            return False
        characters += len(key) + len(value) + _JSON_MARKS
        for text in (key, value):
            if "\0" in text or not (text.isascii() or _is_unicode(text)):
                return False
    if characters * _ESCAPED_BYTES <= MAX_BYTES:
        return True  # whatever its characters are: the usual case, without writing the JSON twice
    return len(json.dumps(collected)) <= MAX_BYTES


def _is_unicode(text: str) -> bool:
    """Tell whether ``text`` is free of lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
