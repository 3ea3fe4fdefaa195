"""Show the history of a task on its page."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.line_breaks import two_lines, unbroken, wrappable
from django_partisan.admin_formatting import block, duration, moment, seconds_of

_TITLES: Final = (_("attempt"), _("when"), _("run time"), _("outcome"), _("error or comment"), _("worker"))


def history(stored: Any) -> SafeString:
    """Return a table of the entries of a history, as ``sql.history`` describes them, the latest last.

    Entries that are not objects and values of a wrong type are left out: SQL may have written anything.
    """
    entries = (
        [_valid_entry(entry) for entry in stored if isinstance(entry, dict)]
        if isinstance(stored, list)
        else []
    )
    head = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in _TITLES))
    rows = format_html_join(
        "",
        '<tr class="partisan-{}">{}</tr>',
        ((entry.get("outcome", ""), _cells(entry)) for entry in entries),
    )
    table = "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    return format_html('<div class="partisan-history">' + table + "</div>", head, rows)


def _valid_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its values as text, seconds and counts as numbers, without unreadable values."""
    sound: dict[str, Any] = {key: str(value) for key, value in entry.items() if value is not None}
    for key, read in _READ.items():
        if key in sound and (value := read(entry[key])) is not None:
            sound[key] = value
        else:
            sound.pop(key, None)
    return sound


def _cells(entry: Mapping[str, Any]) -> SafeString:
    cells = (
        entry.get("attempt", ""),
        _when(entry),
        duration(entry["seconds"]) if "seconds" in entry else "",
        _outcome(entry),
        _error(entry),
        wrappable(entry.get("worker", "")),
    )
    return format_html_join("", "<td>{}</td>", ((cell,) for cell in cells))


def _when(entry: Mapping[str, Any]) -> SafeString | str:
    """Return when the run started, else when the entry was made; for merged entries, the first one too."""
    shown = entry.get("started_at") or entry.get("ended_at", "-")
    if "count" not in entry:
        return unbroken(shown)
    words = gettext("the last of %(count)d since %(moment)s")
    first = {"count": entry["count"], "moment": entry.get("first_ended_at", "-")}
    return two_lines(unbroken(shown), words % first)


def _moment_of(stored: Any) -> str | None:
    with suppress(TypeError, ValueError, OverflowError):
        return moment(parse_datetime(stored))
    return None


def _count_of(stored: Any) -> int | None:
    return stored if isinstance(stored, int) else None


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "seconds": seconds_of,
    "count": _count_of,
    "started_at": _moment_of,
    "ended_at": _moment_of,
    "first_ended_at": _moment_of,
}


def _outcome(entry: Mapping[str, Any]) -> SafeString:
    """Return the outcome, with the reason or the new priority below it."""
    below = entry.get("reason", "")
    if "priority" in entry:
        below = gettext("priority %(number)s") % {"number": entry["priority"]}
    return two_lines(entry.get("outcome", ""), below)


def _error(entry: Mapping[str, Any]) -> SafeString | str:
    words = filter(None, (entry.get("error_type"), entry.get("error_message"), entry.get("comment")))
    text = ": ".join(words)
    if "traceback" not in entry:
        return wrappable(text)
    return format_html(
        "<details><summary>{}</summary>{}</details>", wrappable(text), block(entry["traceback"])
    )
