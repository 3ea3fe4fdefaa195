"""The table names existing alerts, and the documentation page matches the table."""

import re

from tests.real_parts.game_day import report
from tests.real_parts.game_day.rows import CUT, ROWS
from tests.unit.grafana import files

RULES = files.rules("alerts")
ALERTS = {rule["alert"] for rule in RULES}


def test_alerts_of_the_table_exist():
    named = {alert for row in ROWS.values() for alert in (*row.alerts, *row.also_allowed)}

    assert named <= ALERTS


def test_a_row_requires_each_critical_alert():
    critical = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == "critical"}

    assert critical <= {alert for row in ROWS.values() for alert in row.alerts}


def test_only_warnings_may_fire_as_well():
    of_two_grades = {"PartisanWorkersCrashLooping"}
    critical = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == "critical"} - of_two_grades

    assert {alert for row in ROWS.values() for alert in row.also_allowed} & critical == set()


def test_names_fit_a_command_line_and_a_job_of_prometheus():
    assert [name for name in ROWS if not re.fullmatch(r"[a-z0-9-]+", name)] == []


def test_the_cut_has_rows_of_the_table_and_the_healthy_one():
    assert set(CUT) < set(ROWS)
    assert "healthy" in CUT


def test_the_page_is_of_this_table():
    page = report.PAGE.read_text()
    cells = [tuple(line.strip("| ").split(" | ")[:2]) for line in page.splitlines() if line.startswith("| ")]

    assert page.startswith(report.TOP)
    assert page.endswith(report.bottom())
    assert cells[2:] == [report.expected(row) for row in ROWS.values()]
