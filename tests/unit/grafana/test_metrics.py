"""Rules and panels only use exported metrics, and every exported metric is used or listed with a reason."""

import re

from django_partisan.doctor.rules import exported_names
from django_partisan.metrics.catalogue import METRICS
from tests.unit.grafana import files

OF_OTHERS = {
    "up",
    "ALERTS",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
}
"""Exported by Prometheus itself and by the client library's process collector."""

UNUSED: dict[str, str] = {
    "partisan_tasks_requeued_total": "mostly counted in applications, which are scraped apart or not at all",
    "partisan_tasks_changed_total": "mostly counted in applications, as the tasks that were requeued",
    "partisan_runs_interrupted_total": "what came of it is seen: tasks that failed, were retried, cancelled",
    "partisan_worker_peak_resident_memory_bytes": "for limits of containers; panels show what is used now",
    "partisan_tasks_cancelled_total": "what somebody did; mostly counted in applications",
    "partisan_tasks_expired_total": "no failure: whoever sets an expiry knows what it means",
    "partisan_tasks_held_total": "the alert and whoever looks need what is held now, by processor",
}
"""Exported metrics that no panel or rule uses, each with the reason."""


def _used() -> dict[str, list[str]]:
    used: dict[str, list[str]] = {}
    for place, expression in files.expressions():
        for name in files.metrics_of(expression):
            used.setdefault(name, []).append(place)
    return used


def test_every_metric_that_a_panel_or_rule_reads_is_exported() -> None:
    unknown = {name: places for name, places in _used().items() if name not in exported_names() | OF_OTHERS}

    assert unknown == {}


def test_every_exported_metric_is_read_or_listed_as_unused_with_a_reason() -> None:
    read = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _used()} | set(_used())

    assert set(METRICS) - read == set(UNUSED)


def test_labels_in_selectors_and_groupings_exist() -> None:
    known = {label for metric in METRICS.values() for label in metric.labels}
    of_targets = {"job", "instance", "pod", "container", "endpoint", "node", "le"}
    of_targets |= {"alertname", "alertstate", "severity"}  # labels of ALERTS

    found = set()
    for _, expression in files.expressions():
        for group in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", expression):
            found |= {label.strip() for label in group.split(",")}
        for selector in re.findall(r"\{([^}]*)\}", expression):
            found |= set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector))
    assert found - known <= of_targets
