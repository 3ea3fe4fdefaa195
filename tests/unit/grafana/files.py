"""Helpers that read the files of ``grafana/``."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "grafana"
UIDS = (
    "partisan-overview",
    "partisan-processors",
    "partisan-workers",
    "partisan-database",
    "partisan-telemetry",
)

_FUNCTIONS_AND_WORDS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_METRIC = re.compile(r"\b(?:partisan_\w+|process_\w+|scrape_\w+|up|ALERTS)\b")


def dashboard(uid: str) -> dict[str, Any]:
    """Return a committed dashboard."""
    return json.loads((GRAFANA / "dashboards" / f"{uid}.json").read_text())  # type: ignore[no-any-return]


def panels(uid: str) -> list[dict[str, Any]]:
    """Return the panels of a dashboard without its rows."""
    return [panel for panel in dashboard(uid)["panels"] if panel["type"] != "row"]


def all_panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every panel, with a name made of the dashboard's uid and the panel's title."""
    for uid in UIDS:
        for panel in panels(uid):
            yield f"{uid}: {panel['title']}", panel


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every PromQL expression in panels, annotations and rules, with its place."""
    for place, panel in all_panels():
        for target in panel["targets"]:
            yield f"{place} {target['refId']}", target["expr"]
    for uid in UIDS:
        for annotation in dashboard(uid)["annotations"]["list"]:
            yield f"{uid}: annotation {annotation['name']}", annotation["expr"]
    for rule in rules("recording"):
        yield f"recording rule {rule['record']}", rule["expr"]
    for rule in rules("alerts"):
        yield f"alert {rule['alert']}", rule["expr"]


def rules(name: str) -> list[dict[str, Any]]:
    """Return the rules of ``recording.yaml`` or ``alerts.yaml``."""
    loaded = yaml.safe_load((GRAFANA / "alerts" / f"{name}.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def rule_tests() -> list[dict[str, Any]]:
    """Return every case of every promtool test file."""
    files = sorted((GRAFANA / "alerts" / "tests").glob("*.yaml"))
    return [case for file in files for case in yaml.load(file.read_text(), yaml.CSafeLoader)["tests"]]


def metrics_of(expression: str) -> set[str]:
    """Return the names of the exported metrics in an expression, without recorded names."""
    without_strings = re.sub(r'"[^"]*"', '""', expression)
    without_labels = _FUNCTIONS_AND_WORDS.sub("", without_strings)
    without_records = re.sub(r"\b\w+:[\w:]+", "", without_labels)
    return set(_METRIC.findall(re.sub(r"\{[^}]*\}", "", without_records)))


def records_of(expression: str) -> set[str]:
    """Return the names of the recorded series in an expression."""
    return set(re.findall(r"\bjob_\w*:[\w:]+", expression))
