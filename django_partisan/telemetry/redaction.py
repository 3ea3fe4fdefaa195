"""Redact a task's arguments and context: one rule for logs, spans and the admin."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final

from django_partisan.config import observability

REDACTED: Final = "[redacted]"
SHOWN_MAX_BYTES: Final = 1024
"""The maximum length of the text shown for one value, in bytes."""
_MARK: Final = "…"
_OBJECT: Final = re.compile(r"""\{\s*\\*["']""")
"""The beginning of a JSON object inside a text, possibly escaped, or of a Python dict."""
_WHOLE: Final = ("{", "[", '"')
"""The first characters of JSON that may contain keys."""
_DEPTH_MAX: Final = 50


def _with_every_value(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object in which a repeated key has a list of all its values, so that none is hidden."""
    found = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


_decoder: Final = json.JSONDecoder(object_pairs_hook=_with_every_value)


def is_secret(key: Any, parts: Collection[str] | None = None) -> bool:
    """Return whether a key names a secret: it contains any of ``REDACT_KEYS``, ignoring case."""
    parts = observability.value("REDACT_KEYS") if parts is None else parts
    folded = str(key).lower().replace("-", "_")
    return any(part.lower().replace("-", "_") in folded for part in parts)


def redact(value: Any, parts: Collection[str] | None = None, depth: int = _DEPTH_MAX) -> Any:
    """Return ``value`` with the values of all secret keys in it replaced, up to ``depth`` levels deep.

    This includes keys in strings that are JSON or contain JSON objects.
    """
    if depth == 0:
        return "[too deep]"
    parts = observability.value("REDACT_KEYS") if parts is None else parts
    if isinstance(value, Mapping):
        return {
            readable(key): REDACTED if is_secret(readable(key), parts) else redact(inner, parts, depth - 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner, parts, depth - 1) for inner in value]
    return _redact_text(value, parts, depth) if isinstance(value, str) else value


def _redact_text(text: str, parts: Collection[str], depth: int) -> str:
    if '"' not in text and "'" not in text:
        return text
    if text.lstrip().startswith(_WHOLE):
        try:
            value = _decoder.decode(text)
        except (ValueError, RecursionError):
            pass  # the text may still contain JSON
        else:
            return _as_text(value, text, parts, depth)
    return _redact_objects(text, parts, depth)


def _redact_objects(text: str, parts: Collection[str], depth: int) -> str:
    """Redact each object in a text; where one cannot be parsed and may contain a secret, drop the rest."""
    pieces: list[str] = []
    end = 0
    while found := _OBJECT.search(text, end):
        start = found.start()
        try:
            value, stop = _decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            if is_secret(text[start:], parts):
                return "".join((*pieces, text[end:start], REDACTED))
            break
        pieces += text[end:start], _as_text(value, text[start:stop], parts, depth)
        end = stop
    return "".join((*pieces, text[end:]))


def _as_text(value: Any, text: str, parts: Collection[str], depth: int) -> str:
    """Return ``value`` as redacted text, or the ``text`` it was parsed from if it contains no secret."""
    redacted = redact(value, parts, depth - 1)
    return text if redacted == value else json.dumps(redacted, ensure_ascii=False)


def shown(value: Any) -> str:
    """Return ``value`` as JSON text, redacted and cut to 1 KiB."""
    return cut(json.dumps(redact(value), ensure_ascii=False, default=readable), SHOWN_MAX_BYTES)


def shown_arguments(text: str) -> str:
    """Return a task's stored arguments (JSON text), redacted and cut to 1 KiB."""
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return "[unreadable]"
    return shown(arguments)


def readable(value: Any) -> str:
    """Return ``value`` as text, even if its ``__str__`` raises."""
    try:
        return str(value)
    except Exception:
        return f"[unprintable {type(value).__name__}]"


def cut(text: str, limit: int) -> str:
    """Return ``text`` cut to ``limit`` bytes of UTF-8, ending with a mark if anything was cut."""
    if len(text) * 4 <= limit:
        return text
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text
    return encoded[: limit - len(_MARK.encode())].decode("utf-8", "ignore") + _MARK
