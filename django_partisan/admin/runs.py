"""Show the runs that managers publish about their workers.

A manager writes the list to its row with its heartbeat, and more often while a run takes long. Managers of
earlier versions publish no runs.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_partisan.admin_formatting import duration, moment
from django_partisan.models import ManagerLease

_TITLES: Final = (_("task"), _("processor"), _("for"), _("process"), _("worker"))


class PublishedRun(NamedTuple):
    """A task that a worker was running when its manager published it."""

    task: int
    processor: str
    seconds: float
    pid: int | None
    worker: int | None


def published_runs(lease: ManagerLease) -> list[PublishedRun]:
    """Return the runs that a manager published, the longest first, without unreadable entries."""
    return sorted(_read(lease.state), key=lambda run: -run.seconds)


def published_at(lease: ManagerLease) -> str | None:
    """Return when the manager published its runs, or ``None``."""
    at = lease.state.get("at") if isinstance(lease.state, dict) else None
    try:
        return moment(parse_datetime(at)) if isinstance(at, str) else None
    except ValueError:
        return None


def runs_table(lease: ManagerLease, admin_name: str) -> SafeString | None:
    """Return the runs as a table with links to the tasks, or ``None`` if there are none."""
    runs = published_runs(lease)
    if not runs:
        return None
    head = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in _TITLES))
    rows = format_html_join("", "<tr>{}</tr>", ((_cells(run, admin_name),) for run in runs))
    table = "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    return format_html('<div class="partisan-history">' + table + "</div>", head, rows)


def _cells(run: PublishedRun, admin_name: str) -> SafeString:
    page = reverse(f"{admin_name}:django_partisan_task_change", args=[run.task])
    link = format_html('<a href="{}">{}</a>', page, run.task)
    cells = (
        link,
        run.processor,
        duration(run.seconds),
        run.pid or "",
        "" if run.worker is None else run.worker,
    )
    return format_html_join("", "<td>{}</td>", ((cell,) for cell in cells))


def _read(state: Any) -> Iterator[PublishedRun]:
    found = state.get("runs") if isinstance(state, dict) else None
    for run in found if isinstance(found, list) else ():
        if isinstance(run, Mapping) and isinstance(run.get("task"), int):
            seconds = run.get("seconds")
            yield PublishedRun(
                run["task"],
                str(run.get("processor", "")),
                seconds if isinstance(seconds, int | float) else 0.0,
                run.get("pid"),
                run.get("worker"),
            )
