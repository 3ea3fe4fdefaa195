"""Write the report on the contents of the library and on the run of the tasks."""

import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Count, Sum
from django.template.loader import render_to_string
from django.utils import timezone

from demo import charts
from demo.models import IndexedFile, Package
from django_partisan.models import Task

LARGEST = 16
"""The number of packages in the chart."""


@dataclass(frozen=True)
class PackageRow:
    """A package in the chart and in the table."""

    name: str
    summary: str
    files: int
    lines: int
    functions: int
    classes: int


def write(file: Path) -> None:
    """Write the report atomically, so that it is always complete, even if the task runs twice."""
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(render_to_string("demo/report.html", context()), encoding="utf-8")
    unfinished.replace(file)


def context() -> dict[str, Any]:
    """Return the context of the report's template."""
    packages = _packages()
    return {
        "python": sys.version.split()[0],
        "written_at": timezone.now(),
        "totals": _totals(),
        "packages": packages,
        "bars": charts.bars([(row.name, row.summary, row.lines) for row in packages[:LARGEST]]),
        "pace": charts.area(_finished_by_second()),
        "failures": _failures(),
    }


def _totals() -> dict[str, int]:
    sums = IndexedFile.objects.aggregate(
        files=Count("id"), lines=Sum("lines"), functions=Sum("functions"), classes=Sum("classes")
    )
    return {name: value or 0 for name, value in sums.items()}


def _packages() -> list[PackageRow]:
    """Return the packages, without tests, ordered from the largest to the smallest."""
    summaries = dict(Package.objects.values_list("name", "summary"))
    grouped = (
        IndexedFile.objects.filter(is_test=False)
        .values_list("package")
        .annotate(Count("id"), Sum("lines"), Sum("functions"), Sum("classes"))
    )
    rows = [PackageRow(name, summaries.get(name, ""), *numbers) for name, *numbers in grouped]
    return sorted(rows, key=lambda row: -row.lines)


def _finished_by_second() -> list[int]:
    """Return how many tasks finished in each whole second since the first of them."""
    moments = list(Task.objects.finished().order_by("finished_at").values_list("finished_at", flat=True))
    seconds = Counter(
        int((moment - moments[0]).total_seconds()) for moment in moments if moment and moments[0]
    )
    return [seconds[second] for second in range(max(seconds, default=0))]


def _failures() -> list[tuple[str, str]]:
    failed = Task.objects.failed().filter(processor_class="IndexFile").order_by("id")
    return [
        (arguments["kwargs"]["path"], message or "")
        for arguments, message in failed.values_list("arguments", "error_message")
    ]
