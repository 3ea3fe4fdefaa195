"""The dashboards are up to date, and have the features that operators rely on."""

import re
from itertools import combinations
from typing import Any

import pytest

from django_partisan.config.queue_keys import KEYS
from tests.unit.grafana import files

PANELS = list(files.all_panels())
PANEL_TYPES = {"stat", "timeseries", "heatmap", "bargauge", "table"}
VARIABLES = ("datasource", "job", "instance", "queue")
FILLED_BY_GRAFANA = {"__rate_interval", "__range", "__from", "__to", "__url_time_range"}
OF_PANELS = pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=[name for name, _ in PANELS])
OF_THE_SDK = pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
OF_DASHBOARDS = pytest.mark.parametrize("uid", files.UIDS)


def _place(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    return {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}


def _data_links(panel: dict[str, Any]) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = panel["fieldConfig"]["defaults"].get("links", [])
    properties = [found for override in panel["fieldConfig"]["overrides"] for found in override["properties"]]
    return own + [link for found in properties if found["id"] == "links" for link in found["value"]]


def _steps(panel: dict[str, Any]) -> list[float]:
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    return [step["value"] for step in steps if step.get("value")]


@OF_THE_SDK
def test_regenerating_the_dashboards_gives_the_committed_files() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="the SDK needs Python 3.11")
    from grafana.build import files as generated

    committed = {path.name: path.read_text() for path in (files.GRAFANA / "dashboards").iterdir()}
    assert generated() == committed


@OF_DASHBOARDS
def test_a_dashboard_keeps_its_uid_and_schema(uid: str) -> None:
    dashboard = files.dashboard(uid)

    assert (dashboard["uid"], dashboard["schemaVersion"], dashboard["tags"]) == (uid, 42, ["partisan"])
    assert dashboard["description"].endswith("?")


@OF_DASHBOARDS
def test_ids_are_unique_and_panels_do_not_overlap(uid: str) -> None:
    everything = files.dashboard(uid)["panels"]

    assert len({panel["id"] for panel in everything}) == len(everything)
    assert all(not _place(one) & _place(other) for one, other in combinations(everything, 2))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in everything)


@OF_DASHBOARDS
def test_every_line_of_panels_fills_the_width(uid: str) -> None:
    everything = files.dashboard(uid)["panels"]
    lines = {panel["gridPos"]["y"] for panel in everything}

    widths = {
        y: sum(panel["gridPos"]["w"] for panel in everything if panel["gridPos"]["y"] == y) for y in lines
    }
    assert set(widths.values()) == {24}


@OF_PANELS
def test_a_panel_says_what_it_shows_in_which_unit_and_what_to_do(panel: dict[str, Any]) -> None:
    assert panel["type"] in PANEL_TYPES
    assert 4 <= len(panel["title"]) <= 40
    assert 80 <= len(panel["description"]) <= 260
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


@OF_PANELS
def test_a_panel_asks_the_chosen_data_source_with_the_chosen_variables(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for metric, selector in re.findall(
            r"(?<![:\w])(partisan_\w+)(\{[^}]*\})?", _without_grouping(target["expr"])
        ):
            assert 'job=~"$job",instance=~"$instance"' in selector, metric


@OF_PANELS
def test_labels_in_a_legend_are_kept_by_the_query(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        groups = re.findall(r"\b(?:by|group_left) \(([^)]*)\)", target["expr"])
        kept = {label.strip() for group in groups for label in group.split(",")}
        kept |= set(re.findall(r', "(\w+)", "', target["expr"]))  # labels written by label functions
        assert set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))) <= kept


@OF_PANELS
def test_a_rate_follows_the_zoom(panel: dict[str, Any]) -> None:
    # The time for which an ended manager still counts is not the window of a rate.
    remembered = re.compile(r"max_over_time\([^\[\]]*partisan_workers_configured\{\}\)?\[6h(:1m)?\]\)")
    expressions = [re.sub(r"\{[^}]*\}", "{}", target["expr"]) for target in panel["targets"]]
    ranges = {
        span
        for expression in expressions
        for span in re.findall(r"\[([^\]]+)\]", remembered.sub("", expression))
    }

    assert ranges <= {"$__rate_interval", "$__range", "15m"}


@OF_PANELS
def test_links_lead_to_dashboards_traces_or_logs(panel: dict[str, Any]) -> None:
    for link in _data_links(panel):
        assert set(link) == {"title", "url", "targetBlank"}
        if link["url"].startswith("/d/"):
            assert re.match(r"/d/([\w-]+)", link["url"])[1] in files.UIDS  # type: ignore[index]
        else:
            assert link["url"].startswith("/explore?schemaVersion=1&panes=%7B")
            assert {"traces", "logs"} & set(re.findall(r"\$\{(\w+)\}", link["url"]))


@OF_DASHBOARDS
def test_a_dashboard_links_to_the_four_others_and_keeps_time_and_variables(uid: str) -> None:
    links = files.dashboard(uid)["links"]

    assert [link["url"] for link in links] == [f"/d/{other}" for other in files.UIDS if other != uid]
    assert all(link["keepTime"] and link["includeVars"] for link in links)


@OF_DASHBOARDS
def test_variables_offer_all_and_every_one_in_a_query_exists(uid: str) -> None:
    dashboard = files.dashboard(uid)
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    used = {
        name
        for panel in files.panels(uid)
        for t in panel["targets"]
        for name in re.findall(r"\$(\w+)", t["expr"])
    }

    assert tuple(variables)[:4] == VARIABLES
    assert used - FILLED_BY_GRAFANA <= set(variables)
    queries = [variable for variable in variables.values() if variable["type"] == "query"]
    assert all(variable["allValue"] == ".+" and variable["multi"] for variable in queries)


def test_only_processors_narrows_down_to_a_processor() -> None:
    with_processor = {
        uid
        for uid in files.UIDS
        for variable in files.dashboard(uid)["templating"]["list"]
        if variable["name"] == "processor"
    }

    assert with_processor == {"partisan-processors"}


def test_figures_of_the_database_are_never_added_up_over_managers() -> None:
    shared = r"partisan_(queue_tasks|queue_oldest_due_age|managers_alive|task_table_\w+|oldest_transaction)"

    wrong = [
        place
        for place, expression in files.expressions()
        if re.search(rf"\bsum[^()]*(\([^()]*\))?[^()]*\((rate\(|increase\()?{shared}", expression)
    ]
    assert wrong == []


def test_what_runs_between_two_scrapes_is_not_judged_by_a_gauge() -> None:
    users = [place for place, expression in files.expressions() if "partisan_tasks_in_progress" in expression]

    assert users == ["partisan-processors: Long runs under way (30 s and more) A"]


@OF_DASHBOARDS
def test_deploys_pauses_and_dead_workers_are_marked_and_recycling_can_be(uid: str) -> None:
    marks = {mark["name"]: mark["enable"] for mark in files.dashboard(uid)["annotations"]["list"]}

    assert marks == {
        "Deploys and manager starts": True,
        "Queues paused": True,
        "Workers that died": True,
        "Workers recycled": False,
    }


@OF_THE_SDK
def test_panels_change_colour_where_alerts_fire() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="the SDK needs Python 3.11")
    from grafana.builder import limits

    alerts = {rule["alert"]: rule["expr"] for rule in files.rules("alerts")}
    expected = {
        "PartisanQueuePausedLong": limits.PAUSED,
        "PartisanScheduleLate": limits.TICK_LATENESS,
        "PartisanTaskFailureRatioHigh": limits.FAILURE_RATIO,
        "PartisanWorkersSaturated": limits.BUSY_RATIO,
        "PartisanTaskRunningTooLong": limits.RUN_AGE,
        "PartisanManagerStalled": limits.LOOP_AGE,
        "PartisanClockSkew": limits.CLOCK_SKEW,
        "PartisanOldTransaction": limits.TRANSACTION_AGE,
        "PartisanTableBloat": limits.DEAD_ROWS,
    }
    shown = {step for _, panel in PANELS for step in _steps(panel)}

    assert {name: limit for name, limit in expected.items() if f"> {limit}" not in alerts[name]} == {}
    assert {*expected.values(), limits.OLDEST_DUE_HIGH, limits.OLDEST_DUE_CRITICAL} <= shown


@OF_THE_SDK
def test_late_tasks_change_colour_by_the_default_of_the_wait_objective() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="the SDK needs Python 3.11")
    from grafana.builder import limits

    objective = KEYS["MAX_WAIT_SECONDS"].default

    assert (objective / 6, objective) == (limits.OLDEST_DUE_HIGH, limits.OLDEST_DUE_CRITICAL)


def _without_grouping(expression: str) -> str:
    return re.sub(r"\b(by|on) \([^)]*\)", "", expression)
