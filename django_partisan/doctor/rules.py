"""Check that the rules and dashboards in use belong to the installed version."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django.core.management import find_commands

from django_partisan import __version__, bundled_files
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding, Subject
from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import HISTOGRAM

GRAFANA: Final = "grafana"
AGAIN: Final = (
    "Run: manage.py partisan_export grafana DIR --force, and reload Prometheus and Grafana from there."
)
_NAME_OF_METRIC: Final = re.compile(r"(?<![\w:./-])partisan_\w+(?![\w:./-])")
_GROUPS_OF_RULES: Final = frozenset({"partisan_alerts", "partisan_recording", "partisan_recording_history"})
_MANAGEMENT: Final = Path(__file__).parents[1] / "management"
_SUFFIXES_OF_HISTOGRAM: Final = ("_bucket", "_count", "_sum")


def check(subject: Subject) -> Iterator[Finding]:
    """Check an exported folder if one is given, otherwise the shipped files."""
    if subject.rules is None:
        yield _judge_names(bundled_files.folder_of(GRAFANA), "The shipped rules and dashboards")
        yield Finding(
            SKIPPED,
            "The rules that Prometheus loads were not checked.",
            "Pass the folder that partisan_export wrote with --rules.",
        )
    elif subject.rules.is_dir():
        yield _judge_manifest(subject.rules)
        yield _judge_names(subject.rules, f"The rules and dashboards in {subject.rules}")
    else:
        yield Finding(
            ERROR, f"{subject.rules} is not a folder.", "Pass the folder that partisan_export wrote."
        )


def exported_names() -> set[str]:
    """Return every metric name that managers of this version export."""
    return {
        metric.name + suffix
        for metric in catalogue.METRICS.values()
        for suffix in (_SUFFIXES_OF_HISTOGRAM if metric.kind == HISTOGRAM else ("",))
    }


def names_in(text: str) -> set[str]:
    """Return the names in a text that look like metrics of this library.

    Names with colons are left out, because Prometheus records them and managers do not export them, and so
    are the library's commands, which descriptions mention.
    """
    return set(_NAME_OF_METRIC.findall(text)) - _GROUPS_OF_RULES - set(find_commands(str(_MANAGEMENT)))


def _judge_manifest(folder: Path) -> Finding:
    manifest = bundled_files.manifest_of(folder)
    if manifest is None:
        return Finding(WARNING, f"{folder} was not written by partisan_export.", AGAIN)
    if manifest["version"] != __version__:
        message = f"{folder} is of version {manifest['version']}; {__version__} is installed."
        return Finding(WARNING, message, AGAIN)
    changed = [
        name
        for name, digest in manifest["files"].items()
        if not (folder / name).is_file() or bundled_files.digest_of(folder / name) != digest
    ]
    own = f"; changed since: {', '.join(changed)}" if changed else ""
    return Finding(FINE, f"{folder} is of version {__version__}{own}.")


def _judge_names(folder: Path, what: str) -> Finding:
    files = [*sorted(folder.glob("alerts/*.yaml")), *sorted(folder.glob("dashboards/*.json"))]
    unknown = {name for file in files for name in names_in(file.read_text())} - exported_names()
    if not files:
        return Finding(ERROR, f"{folder} has no alerts and no dashboards.", AGAIN)
    if unknown:
        listed = ", ".join(sorted(unknown))
        return Finding(ERROR, f"{what} query metrics that this version does not export: {listed}.", AGAIN)
    return Finding(FINE, f"{what} query only metrics that this version exports.")
