"""The rules are complete: every alert says what is wrong, has a runbook, and is tested firing and silent."""

import re
import shlex
from typing import Any, Final

import pytest
import yaml
from django.core.management import load_command_class

from django_partisan.logs.table import LOG_EVENTS
from tests.unit.grafana import files

ALERTS = files.rules("alerts")
RUNBOOKS = (files.ROOT / "docs" / "runbooks.md").read_text()
OURS: Final = re.compile(r"manage\.py (?:partisan_\w+|start_partisan)[^\n&`]*")
OF_ALERTS = pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
PROMISED = {
    "PartisanManagerDown",
    "PartisanManagerMissing",
    "PartisanManagerNotScraped",
    "PartisanQueueUnserved",
    "PartisanDrainHangs",
    "PartisanManagerStalled",
    "PartisanNoLiveWorkers",
    "PartisanQueueLatencyHigh",
    "PartisanQueueLatencyCritical",
    "PartisanWaitObjectiveBurningFast",
    "PartisanWaitObjectiveBurningSlow",
    "PartisanQueueNotDraining",
    "PartisanQueueGrowing",
    "PartisanQueuePausedLong",
    "PartisanScheduleLate",
    "PartisanScheduleNotCompleting",
    "PartisanDatabaseUnreachable",
    "PartisanDatabaseReadOnly",
    "PartisanFiguresMissing",
    "PartisanTaskFailureRatioHigh",
    "PartisanTaskNotCompleting",
    "PartisanRetryStorm",
    "PartisanPostponeStorm",
    "PartisanEnqueueFailing",
    "PartisanWorkersCrashLooping",
    "PartisanTaskRunningTooLong",
    "PartisanTasksRescued",
    "PartisanTasksHeld",
    "PartisanWorkerMemory",
    "PartisanWorkersSaturated",
    "PartisanClaimErrors",
    "PartisanSettleErrors",
    "PartisanLeaseLost",
    "PartisanClockSkew",
    "PartisanTableBloat",
    "PartisanOldTransaction",
    "PartisanTelemetryDropping",
    "PartisanLabelOverflow",
}


CRITICAL = {
    "no manager is alive": "PartisanManagerMissing",
    "the wait objective is missed": "PartisanQueueLatencyCritical",
    "the database does not answer": "PartisanDatabaseUnreachable",
    "the database takes no writes, or nothing settles": "PartisanDatabaseReadOnly",
    "workers crash in a loop": "PartisanWorkersCrashLooping",
}
"""The alerts that page; all others are warnings."""


def _runbook(alert: str) -> str:
    parts = RUNBOOKS.split(f"## {alert}\n")
    assert len(parts) == 2
    return parts[1].split("\n## ")[0]


def test_the_alerts_are_those_of_the_contract() -> None:
    assert {rule["alert"] for rule in ALERTS} == PROMISED


@OF_ALERTS
def test_an_alert_waits_is_graded_and_says_what_is_wrong(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]

    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert "{{" not in annotations["summary"]
    assert "{{ $labels." in annotations["description"]


def test_only_one_alert_is_graded_by_two_rules() -> None:
    names = [rule["alert"] for rule in ALERTS]

    assert {name for name in names if names.count(name) > 1} == {"PartisanWorkersCrashLooping"}


def test_only_these_five_page() -> None:
    critical = {rule["alert"] for rule in ALERTS if rule["labels"]["severity"] == "critical"}

    assert critical == set(CRITICAL.values())


@OF_ALERTS
def test_an_alert_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["runbook_url"].endswith(f"docs/runbooks.md#{rule['alert'].lower()}")


@OF_ALERTS
def test_a_runbook_says_what_it_means_how_to_look_and_what_to_do_with_a_command(rule: dict[str, Any]) -> None:
    section = _runbook(rule["alert"])

    assert [word for word in ("**Means.**", "**Look.**", "**Do.**", "```") if word not in section] == []


@OF_ALERTS
def test_a_runbook_names_the_log_event_that_names_the_cause(rule: dict[str, Any]) -> None:
    section = _runbook(rule["alert"])

    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", section))
    assert named & {event.action for event in LOG_EVENTS.values()} or "No log event shows it." in section


@OF_ALERTS
def test_a_runbook_ends_with_a_command_of_ours(rule: dict[str, Any]) -> None:
    section = _runbook(rule["alert"])

    language, last = re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[-1]
    assert language == "console"
    assert section.rstrip().endswith("```")
    assert OURS.search(last.splitlines()[-1])


@pytest.mark.parametrize("line", sorted({found[0] for found in OURS.finditer(RUNBOOKS)}))
def test_a_command_of_a_runbook_is_understood(line: str) -> None:
    _, name, *arguments = shlex.split(line)

    parser = load_command_class("django_partisan", name).create_parser("manage.py", name)
    parser.parse_args(arguments)


@pytest.mark.parametrize("alert", ["PartisanManagerDown", "PartisanManagerMissing"])
def test_a_runbook_of_a_manager_that_is_missed_tells_whether_it_is_only_not_scraped(alert: str) -> None:
    assert "alive but not scraped" in _runbook(alert)
    assert "(#partisanmanagernotscraped)" in _runbook(alert)


def test_every_runbook_belongs_to_an_alert() -> None:
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)) == sorted(PROMISED)


@OF_ALERTS
def test_an_alert_has_a_firing_and_a_silent_case(rule: dict[str, Any]) -> None:
    cases = [
        bool(expected.get("exp_alerts"))
        for case in files.rule_tests()
        for expected in case["alert_rule_test"]
        if expected["alertname"] == rule["alert"]
    ]

    assert sorted(set(cases)) == [False, True]


def test_recorded_names_tell_level_metric_and_operations() -> None:
    names = [rule["record"] for rule in files.rules("recording")]

    assert [name for name in names if not re.fullmatch(r"job(_\w+)*:partisan_\w+:\w+", name)] == []


def test_rules_keep_the_operators_own_labels() -> None:
    expressions = [rule["expr"] for name in ("recording", "alerts") for rule in files.rules(name)]

    assert [expression for expression in expressions if re.search(r"\bby\b", expression)] == []


def test_every_recorded_series_that_is_used_is_recorded() -> None:
    recorded = {rule["record"] for rule in files.rules("recording")}
    used = set().union(*(files.records_of(expression) for _, expression in files.expressions()))

    assert used <= recorded


def _inhibit_rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((files.GRAFANA / "alertmanager/alertmanager.yaml").read_text())
    return loaded["inhibit_rules"]  # type: ignore[no-any-return]


def _fired() -> list[dict[str, str]]:
    """Return the labels of every alert that fires in a test case."""
    return [
        {"alertname": expected["alertname"], **alert["exp_labels"]}
        for case in files.rule_tests()
        for expected in case["alert_rule_test"]
        for alert in expected["exp_alerts"]
    ]


def _matches(labels: dict[str, str], matchers: list[str]) -> bool:
    """Return whether labels match Alertmanager's matchers: ``name = value`` or ``name =~ "pattern"``."""
    found = [re.fullmatch(r'(\w+) (=~?) "?([\w|]+)"?', matcher) for matcher in matchers]
    return all(one and re.fullmatch(one[3], labels.get(one[1], "")) for one in found)


def _alerts_of(matchers: list[str]) -> set[str]:
    return set(re.findall(r"Partisan\w+", " ".join(matchers)))


def _pairs() -> list[Any]:
    return [
        pytest.param(rule, cause, consequence, id=f"{cause}-{consequence}")
        for rule in _inhibit_rules()
        for cause in sorted(_alerts_of(rule["source_matchers"]))
        for consequence in sorted(_alerts_of(rule["target_matchers"]))
    ]


@pytest.mark.parametrize(("rule", "cause", "consequence"), _pairs())
def test_a_cause_and_its_consequence_fire_with_the_labels_by_which_one_mutes_the_other(
    rule: dict[str, Any], cause: str, consequence: str
) -> None:
    ours = set(rule["equal"]) - {"cluster", "namespace"}  # labels that the operator adds

    for alert, side in ((cause, "source_matchers"), (consequence, "target_matchers")):
        fired = [one for one in _fired() if one["alertname"] == alert and _matches(one, rule[side])]
        # A label missing on both sides would also count as equal.
        assert [one for one in fired if ours <= set(one)]


def test_alerts_mute_others_of_their_job_and_queue() -> None:
    for rule in _inhibit_rules():
        of_schedules = _alerts_of(rule["target_matchers"]) == {
            "PartisanScheduleLate",
            "PartisanScheduleNotCompleting",
        }
        assert {"cluster", "namespace", "job"} <= set(rule["equal"])
        assert ("queue" in rule["equal"]) is not of_schedules  # a schedule may enqueue to any queue


def test_the_alerts_of_a_cause_mute_those_of_its_consequences_and_no_others() -> None:
    late = {
        "PartisanQueueLatencyHigh",
        "PartisanWaitObjectiveBurningFast",
        "PartisanWaitObjectiveBurningSlow",
    }
    database = {
        "PartisanClaimErrors",
        "PartisanSettleErrors",
        "PartisanLeaseLost",
        "PartisanEnqueueFailing",
        "PartisanQueueLatencyCritical",
        "PartisanQueueNotDraining",
        *late,
    }
    expected = {
        "PartisanDatabaseUnreachable": database,
        "PartisanDatabaseReadOnly": {
            *database,
            "PartisanScheduleLate",
            "PartisanScheduleNotCompleting",
        },
        # PartisanManagerNotScraped mutes none: if two managers are not scraped, one of them may be dead.
        "PartisanManagerMissing": {
            "PartisanManagerDown",
            "PartisanQueueUnserved",
            "PartisanQueueLatencyHigh",
        },
        "PartisanQueueLatencyCritical": late,
        "PartisanTasksRescued": {"PartisanTelemetryDropping"},
        "PartisanWaitObjectiveBurningFast": {"PartisanWaitObjectiveBurningSlow"},
        "PartisanWorkersCrashLooping": {"PartisanWorkersCrashLooping"},
        "PartisanClaimErrors": {"PartisanFiguresMissing"},
        "PartisanTaskFailureRatioHigh": {"PartisanTaskNotCompleting"},
    }

    muted: dict[str, set[str]] = {}
    for rule in _inhibit_rules():
        for cause in _alerts_of(rule["source_matchers"]):
            muted.setdefault(cause, set()).update(_alerts_of(rule["target_matchers"]))

    assert muted == expected


def test_the_provisioning_is_yaml_and_names_the_data_sources_that_the_dashboards_link_to() -> None:
    loaded = yaml.safe_load((files.GRAFANA / "provisioning/datasources/partisan.yaml").read_text())
    providers = yaml.safe_load((files.GRAFANA / "provisioning/dashboards/partisan.yaml").read_text())[
        "providers"
    ]

    assert [source["type"] for source in loaded["datasources"]] == ["prometheus", "tempo", "elasticsearch"]
    assert [provider["type"] for provider in providers] == ["file"]
