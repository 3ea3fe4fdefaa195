"""Shorten log lines that are too long, beginning with the least important parts.

A pipe accepts up to 4,096 bytes in one piece; longer lines can be mixed with lines of other processes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from django_partisan.telemetry.redaction import cut

STACK_TRACE: Final = "error.stack_trace"
GAP: Final = "\n[…]\n"
TRUNCATED_LABEL: Final = "labels.truncated"
_LONGEST_VALUE: Final = 256
_TRACE_STEP: Final = 32
_KEPT: Final[tuple[str, ...]] = ("event.id", "event.action", "partisan.task.id", "trace.id")

Render = Callable[[str, Mapping[str, Any]], str]


def is_longer(line: str, limit: int) -> bool:
    """Return whether ``line`` takes more than ``limit`` bytes of UTF-8."""
    return len(line) > limit or (not line.isascii() and len(line.encode("utf-8", "replace")) > limit)


def shorten(render: Render, message: str, fields: Mapping[str, Any], limit: int) -> str:
    """Return a line of at most ``limit`` bytes, made by ``render``.

    First the stack trace is cut in the middle. Then labels are dropped, then long values are cut, and
    finally only the fields that identify the event and its task are kept.
    """
    for shorter, fewer in _shortened_variants(message, fields):
        line = with_shorter_trace(render, shorter, fewer, limit)
        if not is_longer(line, limit):
            return line
    kept = {name: _short(fields[name]) for name in _KEPT if name in fields}
    return render(cut(message, _LONGEST_VALUE // 4), {**kept, TRUNCATED_LABEL: "true"})


def in_the_middle(text: str, keep: int) -> str:
    """Return the first and last characters of ``text``, ``keep`` in total, with a mark between them."""
    head = keep // 3
    return text[:head] + GAP + text[len(text) - keep + head :]


def _shortened_variants(message: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield message, fields
    fields = {name: value for name, value in fields.items() if not name.startswith("labels.")}
    fields[TRUNCATED_LABEL] = "true"
    message = cut(message, 2 * _LONGEST_VALUE)
    yield message, fields
    yield message, {name: _short(value) for name, value in fields.items()}


def with_shorter_trace(render: Render, message: str, fields: Mapping[str, Any], limit: int) -> str:
    """Return the line with as much of the stack trace as fits."""
    line = render(message, fields)
    trace = fields.get(STACK_TRACE)
    if not trace or not is_longer(line, limit):
        return line

    def with_trace_of(keep: int) -> str:
        return render(message, {**fields, STACK_TRACE: in_the_middle(trace, keep)})

    steps = range(0, min(len(trace), limit), _TRACE_STEP)
    too_many = bisect_left(steps, True, key=lambda keep: is_longer(with_trace_of(keep), limit))
    return with_trace_of(steps[max(too_many - 1, 0)])


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return cut(value, _LONGEST_VALUE)
    return value[:10] if isinstance(value, list) else value
