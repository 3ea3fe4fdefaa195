"""Do the rules and dashboards in use belong to the installed version?"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django_partisan import __version__, bundled_files
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import HISTOGRAM

NAME: Final = "rules"
GRAFANA: Final = "grafana"
AGAIN: Final = "Run: manage.py partisan_export grafana DIR --force, and have Prometheus and Grafana load it."

_NAME_OF_METRIC: Final = re.compile(r"(?<![\w:./-])partisan_\w+(?![\w:./-])")
_NOT_METRICS: Final = frozenset({"partisan_alerts", "partisan_recording"})
_SUFFIXES_OF_HISTOGRAM: Final = ("_bucket", "_count", "_sum")


def look(subject: Subject) -> Iterator[Finding]:
    """Look at an exported folder if one is given, else at what is shipped."""
    if subject.rules is None:
        yield from _judge_names(bundled_files.folder_of(GRAFANA), "The shipped rules and dashboards")
        yield Finding(
            NAME, SKIPPED, "Which rules Prometheus loads is not known here.",
            "Give the folder that partisan_export wrote with --rules.",
        )  # fmt: skip
        return
    if not subject.rules.is_dir():
        yield Finding(NAME, ERROR, f"{subject.rules} is no folder.", "Give what partisan_export wrote.")
        return
    yield _judge_manifest(subject.rules)
    yield from _judge_names(subject.rules, f"The rules and dashboards in {subject.rules}")


def exported_names() -> set[str]:
    """Return every name that a query can ask this version's managers for."""
    names: set[str] = set()
    for metric in catalogue.METRICS.values():
        names.add(metric.name)
        if metric.kind == HISTOGRAM:
            names.update(metric.name + suffix for suffix in _SUFFIXES_OF_HISTOGRAM)
    return names


def names_in(text: str) -> set[str]:
    """Return what looks like a metric of ours in a text: names with colons are recorded, not exported."""
    return set(_NAME_OF_METRIC.findall(text)) - _NOT_METRICS


def _judge_manifest(folder: Path) -> Finding:
    manifest = bundled_files.manifest_of(folder)
    if manifest is None:
        return Finding(NAME, WARNING, f"{folder} was not written by partisan_export.", AGAIN)
    if manifest["version"] != __version__:
        message = f"{folder} is of version {manifest['version']}; {__version__} is installed."
        return Finding(NAME, WARNING, message, AGAIN)
    changed = [
        name
        for name, digest in manifest["files"].items()
        if not (folder / name).is_file() or bundled_files.digest_of(folder / name) != digest
    ]
    own = f"; changed since: {', '.join(changed)}" if changed else ""
    return Finding(NAME, FINE, f"{folder} is of version {__version__}{own}.")


def _judge_names(folder: Path, what: str) -> Iterator[Finding]:
    files = [*sorted(folder.glob("alerts/*.yaml")), *sorted(folder.glob("dashboards/*.json"))]
    if not files:
        yield Finding(NAME, ERROR, f"{folder} holds neither alerts nor dashboards.", AGAIN)
        return
    known = exported_names()
    unknown = sorted({name for file in files for name in names_in(file.read_text())} - known)
    if unknown:
        yield Finding(
            NAME, ERROR, f"{what} ask for what this version does not export: {', '.join(unknown)}.", AGAIN
        )
        return
    yield Finding(NAME, FINE, f"{what} ask only for what this version exports.")
