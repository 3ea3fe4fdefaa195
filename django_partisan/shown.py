"""How the admin shows moments, long texts, the history of a task, and what a manager runs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime

from django_partisan.sql.manager_state import Run

_AS_IT_IS: Final = "font-family: monospace; white-space: pre-wrap; overflow-wrap: anywhere"
_TITLES: Final = ("attempt", "started at", "seconds", "outcome", "error", "worker")


def moment(stored: datetime | None) -> str | None:
    """Return a moment to the millisecond: Django's own format ends at the minute."""
    if stored is None:
        return None
    local = localtime(stored) if is_aware(stored) else stored
    return local.replace(tzinfo=None).isoformat(" ", "milliseconds")


def block(text: str | None) -> SafeString:
    """Return a text of several lines as it is, or a dash where there is none."""
    return format_html('<div style="{}">{}</div>', _AS_IT_IS, text or "-")


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


def runs(found: Iterable[Run]) -> SafeString | str:
    """Return a table of runs under way, or a dash."""
    cells = [(run.task, run.processor, run.pid, format(run.seconds, ".1f")) for run in found]
    if not cells:
        return "-"
    head = "<th>task</th><th>processor</th><th>process</th><th>seconds</th>"
    rows = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", cells)
    return format_html("<table><thead><tr>" + head + "</tr></thead><tbody>{}</tbody></table>", rows)
