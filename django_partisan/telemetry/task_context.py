"""What a task's row can hold of a carried context."""

import json
from collections.abc import Mapping
from typing import Any, Final

MAX_BYTES: Final = 4096
"""Longest carried context of one task, as JSON text."""


def can_be_stored(collected: Mapping[Any, Any]) -> bool:
    """Return whether ``collected`` maps text to text that PostgreSQL's JSON can hold, and is not too long."""
    try:
        text = "".join((*collected, *collected.values()))
        text.encode()
    except (TypeError, UnicodeEncodeError):  # another type than text, or a lone surrogate
        return False
    return "\0" not in text and len(json.dumps(collected)) <= MAX_BYTES
