"""How a task's page shows the history of the task."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_partisan.shown import block, moment

_TITLES: Final = ("attempt", "started at", "seconds", "outcome", "error", "worker")


def history(entries: Sequence[Mapping[str, Any]]) -> SafeString:
    """Return a table of the entries of a history, as ``sql.history`` describes them."""
    head = format_html_join("", "<th>{}</th>", ((title,) for title in _TITLES))
    rows = format_html_join("", "<tr>{}</tr>", ((_cells(entry),) for entry in entries))
    table = "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    return format_html('<div style="overflow-x: auto">' + table + "</div>", head, rows)


def _cells(entry: Mapping[str, Any]) -> SafeString:
    cells = (
        _attempt(entry),
        _moment_of(entry, "started_at" if "started_at" in entry else "ended_at"),
        "-" if "seconds" not in entry else format(entry["seconds"], ".3f"),
        " ".join(filter(None, (entry["outcome"], _in_brackets(entry.get("reason"))))),
        _error(entry),
        entry.get("worker", "-"),
    )
    return format_html_join("", "<td>{}</td>", ((cell,) for cell in cells))


def _attempt(entry: Mapping[str, Any]) -> str:
    attempt = str(entry.get("attempt", "-"))
    if "count" not in entry:
        return attempt
    return f"{attempt}, the last of {entry['count']} since {_moment_of(entry, 'first_ended_at')}"


def _moment_of(entry: Mapping[str, Any], key: str) -> str:
    found = parse_datetime(entry[key]) if key in entry else None
    return moment(found) or "-"


def _in_brackets(text: str | None) -> str:
    return f"({text})" if text else ""


def _error(entry: Mapping[str, Any]) -> SafeString | str:
    words = filter(None, (entry.get("error_type"), entry.get("error_message"), entry.get("comment")))
    text = ": ".join(words) or "-"
    if "traceback" not in entry:
        return text
    return format_html("<details><summary>{}</summary>{}</details>", text, block(entry["traceback"]))
