"""Whether the rules and dashboards in use match the installed version."""

import json

import pytest

from django_partisan import bundled_files
from django_partisan.doctor import rules
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING


@pytest.fixture
def exported(tmp_path):
    """Return a folder with the files that the installed version ships."""
    bundled_files.export("grafana", tmp_path)
    return tmp_path


@pytest.fixture
def check(subject, tmp_path):
    """Return a function that returns the findings for an exported folder."""
    return lambda: list(rules.check(subject._replace(rules=tmp_path)))


def statuses(findings):
    return [finding.status for finding in findings]


def test_the_shipped_rules_ask_for_nothing_unknown(subject):
    assert statuses(rules.check(subject)) == [FINE, SKIPPED]


@pytest.mark.usefixtures("exported")
def test_an_exported_folder_of_this_version_is_fine(check):
    assert statuses(check()) == [FINE, FINE]


def test_a_file_changed_by_hand_is_named(check, exported):
    with (exported / "alerts" / "alerts.yaml").open("a") as file:
        file.write("# mine\n")
    (exported / "README.md").unlink()

    first, _ = check()

    assert first.status == FINE
    assert first.message.endswith("; changed since: README.md, alerts/alerts.yaml.")


def test_an_export_of_another_version_is_a_warning(check, exported):
    manifest = exported / bundled_files.MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": "1.9"}))

    first, _ = check()

    assert first.status == WARNING
    assert "is of version 1.9" in first.message


def test_a_folder_of_another_origin_is_a_warning(check, exported):
    (exported / bundled_files.MANIFEST).unlink()

    assert statuses(check()) == [WARNING, FINE]


def test_a_metric_that_is_not_exported_any_more_is_an_error(check, exported):
    with (exported / "alerts" / "alerts.yaml").open("a") as file:
        file.write("      - alert: Mine\n        expr: rate(partisan_tasks_forgotten_total[5m]) > 0\n")

    _, second = check()

    assert second.status == ERROR
    assert "partisan_tasks_forgotten_total" in second.message


def test_a_folder_without_rules_is_an_error(check):
    assert statuses(check()) == [WARNING, ERROR]


def test_no_folder_is_an_error(check, tmp_path):
    tmp_path.rmdir()

    assert statuses(check()) == [ERROR]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("rate(partisan_tasks_failed_total[5m])", {"partisan_tasks_failed_total"}),
        ("job_queue:partisan_queue_oldest_due_age_seconds:max > 300", set()),
        ("- name: partisan_alerts", set()),
        ('"uid": "partisan-overview"', set()),
        ("partisan_requeue and partisan_status are commands", set()),
        ("partisan_task_duration_seconds_bucket{le='1'}", {"partisan_task_duration_seconds_bucket"}),
    ],
)
def test_names_of_metrics_are_told_from_other_names(text, names):
    assert rules.names_in(text) == names


def test_a_histogram_can_be_asked_in_three_ways():
    names = rules.exported_names()

    assert {f"partisan_task_duration_seconds_{part}" for part in ("bucket", "sum", "count")} <= names
    assert "partisan_task_duration_seconds" not in names
    assert "partisan_tasks_failed_total" in names
    assert "partisan_tasks_failed_total_bucket" not in names
