"""Rules for every panel: meaningful colors, a limited number of series, no gaps, honest axes."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from django_partisan.metrics.catalogue import METRICS
from tests.unit.grafana import files

PANELS = list(files.all_panels())
OF_PANELS = pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=[name for name, _ in PANELS])
OF_GRAPHS = pytest.mark.parametrize(
    "panel",
    [panel for _, panel in PANELS if panel["type"] == "timeseries"],
    ids=[name for name, panel in PANELS if panel["type"] == "timeseries"],
)
OF_ERRORS = re.compile(r'fail|error|lost|dropped|overflow|rescued|retried|held|exits|state="error"')
"""Parts of the names of error figures, in metrics or selectors."""
OF_KINDS = {"processor", "error_type", "schedule", "worker"}
"""Labels with as many values as the project defines."""
NEVER_ZERO = ("partisan_workers_configured", "partisan_buffer_limit")
GREENS = re.compile("green|^#(73bf69|37872d|56a64b|96d98d)$", re.IGNORECASE)


def _counts_errors(expression: str) -> bool:
    return any(OF_ERRORS.search(name) for name in [*files.metrics_of(expression), *_states(expression)])


def _states(expression: str) -> list[str]:
    return re.findall(r'state="error"', expression)


def _overrides(panel: dict[str, Any], property_id: str) -> dict[str, Any]:
    return {
        override["matcher"]["options"]: found["value"]
        for override in panel["fieldConfig"]["overrides"]
        for found in override["properties"]
        if found["id"] == property_id
    }


def _thresholds(panel: dict[str, Any]) -> Iterator[str]:
    for thresholds in [
        panel["fieldConfig"]["defaults"].get("thresholds", {}),
        *_overrides(panel, "thresholds").values(),
    ]:
        yield from (step["color"] for step in thresholds.get("steps", []))


def _colour(panel: dict[str, Any], legend: str) -> str:
    """Return the color of a series; a palette counts as green, because it contains green."""
    default = panel["fieldConfig"]["defaults"].get("color", {"mode": "palette-classic"})
    colour = _overrides(panel, "color").get(legend, default)
    return str(colour.get("fixedColor", "text")) if "palette" not in colour["mode"] else "green"


@OF_PANELS
def test_errors_are_never_green(panel: dict[str, Any]) -> None:
    of_errors = [target for target in panel["targets"] if _counts_errors(target["expr"])]
    if not of_errors:
        return

    assert [colour for colour in _thresholds(panel) if GREENS.search(colour)] == []
    if panel["type"] == "timeseries":
        names = [target["legendFormat"] for target in of_errors]
        others = {target["legendFormat"] for target in panel["targets"]} - set(names)
        names += [name for name in _overrides(panel, "color") if name not in others]
        assert [name for name in names if GREENS.search(_colour(panel, name))] == []


@OF_GRAPHS
def test_a_graph_of_kinds_shows_the_ten_that_matter_most_and_says_so(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        if OF_KINDS & set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])):
            # The same ten at every point: ranked once over the whole range.
            assert re.search(r" and topk\(10, .*\[\$__range\] @ end\(\)", target["expr"])
            assert re.search(r"\b[Tt]en\b", panel["description"])


@OF_PANELS
def test_a_query_never_answers_nan(panel: dict[str, Any]) -> None:
    """Prometheus answers NaN for an empty histogram and for zero divided by zero."""
    for target in panel["targets"]:
        assert list(_may_be_nan(target["expr"])) == []


def _may_be_nan(expression: str) -> Iterator[str]:
    for found in re.finditer(r"histogram_quantile(?=\()", expression):
        end = _end_of_parentheses(expression, found.end())
        if not expression.startswith(" >= 0", end):
            yield expression[found.start() : end]
    for found in re.finditer(r" / (on \([^)]*\) )?", expression):
        divisor = _operand(expression, found.end())
        if not re.search(r"^clamp_min\(|> 0\)$", divisor) and not any(name in divisor for name in NEVER_ZERO):
            yield divisor


def _operand(expression: str, start: int) -> str:
    """Return the operand at ``start``: a function, an aggregation with its grouping, or parentheses."""
    end = start
    for _ in range(1 + expression.startswith(("sum by", "max by"), start)):
        end = _end_of_parentheses(expression, expression.index("(", end))
    return expression[start:end]


def _end_of_parentheses(expression: str, start: int) -> int:
    """Return the index after the parentheses that open at ``start``."""
    depth = 0
    for index in range(start, len(expression)):
        depth += {"(": 1, ")": -1}.get(expression[index], 0)
        if depth == 0:
            return index + 1
    raise AssertionError(f"unbalanced: {expression}")


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("histogram_quantile(0.5, sum by (le) (a))", 1),
        ("histogram_quantile(0.5, sum by (le) (a)) >= 0", 0),
        ("sum(a) / sum(b)", 1),
        ("sum(a) / (sum(b) > 0)", 0),
        ("sum(a) / clamp_min(sum(b), 1)", 0),
        ("sum(a) / sum by (queue) (partisan_workers_configured{})", 0),
        ("sum(a) / sum by (queue) (b) / (c > 0)", 1),
    ],
)
def test_the_search_for_nan_finds_it(expression: str, count: int) -> None:
    assert len(list(_may_be_nan(expression))) == count


@OF_PANELS
def test_no_queue_without_live_workers_is_hidden_in_a_sum(panel: dict[str, Any]) -> None:
    of_workers = [target["expr"] for target in panel["targets"] if "partisan_workers{" in target["expr"]]

    if panel["type"] == "stat":
        assert [expr for expr in of_workers if not re.search(r"bottomk\(1, .*\(job, queue\)", expr)] == []


@OF_PANELS
def test_dots_of_traces_are_on_heatmaps_only_where_they_hide_no_line(panel: dict[str, Any]) -> None:
    asked = [target["refId"] for target in panel["targets"] if target.get("exemplar")]

    assert bool(asked) == (panel["type"] == "heatmap")


@OF_PANELS
def test_a_description_speaks_of_dots_only_where_there_are_some(panel: dict[str, Any]) -> None:
    assert "Dots" not in panel["description"] or panel["type"] == "heatmap"


@OF_GRAPHS
def test_a_line_over_all_queues_beside_lines_of_the_chosen_ones_says_so(panel: dict[str, Any]) -> None:
    of_all = [target for target in panel["targets"] if not _narrowed_to_queues(target["expr"])]

    if len(of_all) < len(panel["targets"]):
        assert [t["legendFormat"] for t in of_all if "all queues" not in t["legendFormat"]] == []


def _narrowed_to_queues(expression: str) -> bool:
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in files.metrics_of(expression)}
    return all("queue" in METRICS[name].labels for name in names & set(METRICS))


@OF_GRAPHS
def test_a_graph_of_zeros_has_no_axis_up_to_100(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]

    assert defaults.get("max") or 0 < defaults["custom"]["axisSoftMax"] <= 1024**2
    if defaults["unit"] != "bytes":
        assert defaults.get("max", defaults["custom"].get("axisSoftMax")) <= 1


def test_the_first_figure_names_the_kind_that_is_oldest_due() -> None:
    [target] = next(panel for name, panel in PANELS if name == "partisan-overview: Oldest due")["targets"]

    assert "(queue, processor) (partisan_oldest_due_task_age_seconds" in target["expr"]


def test_the_first_row_says_whether_work_is_late_fails_is_withheld_or_finds_no_capacity() -> None:
    everything = files.dashboard("partisan-overview")["panels"]
    second_row = [panel["type"] for panel in everything].index("row", 1)

    assert [panel["title"] for panel in everything[1:second_row]] == [
        "Oldest due",
        "Due now",
        "Failure ratio",
        "Retry ratio",
        "Failed tasks",
        "Alerts firing",
        "Runs per second",
        "Live workers",
        "Workers busy",
        "Queues paused",
        "Tasks held",
        "Database",
    ]
