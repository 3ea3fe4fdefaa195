"""Panel figures that need more than a sum, computed by promtool from series with known answers."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.real_parts.servers import program
from tests.unit.grafana import files

FILLED_IN = {
    "$__rate_interval": "5m",
    "$__range": "10m",
    **{f"${name}": ".+" for name in ("job", "instance", "queue", "processor")},
}


def _expression(uid: str, title: str) -> str:
    [panel] = [panel for panel in files.panels(uid) if panel["title"] == title]
    expression: str = panel["targets"][0]["expr"]
    for name, value in FILLED_IN.items():
        expression = expression.replace(name, value)
    return expression


def _check(folder: Path, series: dict[str, str], expected: dict[str, list[dict[str, Any]]]) -> None:
    """Fail unless promtool computes the expected result of each expression after a quarter of an hour."""
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": "15m", "exp_samples": samples}
            for expression, samples in expected.items()
        ],
    }
    file = folder / "panels.yaml"
    file.write_text(json.dumps({"tests": [case]}))
    command = [program("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _workers(queue: str, idle: int, busy: int, configured: int) -> dict[str, str]:
    labels = f'job="partisan",instance="one",queue="{queue}"'
    return {
        f'partisan_workers{{{labels},state="idle"}}': f"{idle}x20",
        f'partisan_workers{{{labels},state="busy"}}': f"{busy}x20",
        f"partisan_workers_configured{{{labels}}}": f"{configured}x20",
    }


@pytest.mark.parametrize(
    ("live", "share"), [((0, 0), 0), ((1, 0), 0.5), ((1, 1), 1)], ids=["none", "half", "all"]
)
def test_live_workers_are_those_of_the_queue_that_lacks_most(
    tmp_path: Path, live: tuple[int, int], share: float
) -> None:
    expression = _expression("partisan-overview", "Live workers")
    labels = f'{{job="partisan",queue="mail",live="{sum(live)}",configured="2"}}'

    others = {} if share == 1 else _workers("default", 30, 10, 40)
    _check(tmp_path, others | _workers("mail", *live, 2), {expression: [{"labels": labels, "value": share}]})


@pytest.mark.parametrize("up", ["0x20", "1x10 stale"], ids=["not answering", "removed"])
def test_live_workers_shows_a_queue_whose_only_manager_is_dead(tmp_path: Path, up: str) -> None:
    expression = _expression("partisan-overview", "Live workers")
    dead = {name: f"{values[:-2]}10 stale" for name, values in _workers("mail", 1, 1, 2).items()}
    labels = '{job="partisan",queue="mail",live="0",configured="2"}'

    _check(
        tmp_path,
        _workers("default", 3, 1, 4) | dead | {'up{job="partisan",instance="one"}': up},
        {expression: [{"labels": labels, "value": 0}]},
    )


def test_live_workers_of_a_dead_queue_adds_up_no_managers_that_replaced_each_other(
    tmp_path: Path,
) -> None:
    expression = _expression("partisan-overview", "Live workers")
    configured = 'partisan_workers_configured{{job="partisan",instance="{}",queue="mail"}}'
    labels = '{job="partisan",queue="mail",live="0",configured="2"}'

    _check(
        tmp_path,
        {configured.format("old"): "2x4 stale", configured.format("new"): "_x5 2x4 stale"},
        {expression: [{"labels": labels, "value": 0}]},
    )


@pytest.mark.parametrize(
    ("up", "writable", "state"),
    [("1", "1x20", 2), ("1", "0x20", 1), ("1", "1x5 stale", 1), ("0", "1x20", 0)],
    ids=["up", "read-only", "no figures", "down"],
)
@pytest.mark.parametrize("uid", ["partisan-overview", "partisan-database"])
def test_the_database_is_as_the_manager_sees_it_that_is_worst_off(
    tmp_path: Path, uid: str, up: str, writable: str, state: int
) -> None:
    expression = _expression(uid, "Database")
    well, other = (f'job="partisan",instance="{name}",queue="mail"' for name in ("one", "two"))
    series = {
        f"partisan_db_up{{{well}}}": "1x20",
        f"partisan_db_writable{{{well}}}": "1x20",
        f"partisan_db_up{{{other}}}": f"{up}x20",
        f"partisan_db_writable{{{other}}}": writable,
    }

    _check(tmp_path, series, {expression: [{"labels": "{}", "value": state}]})


def test_tasks_held_shows_no_zero_where_there_are_no_figures(tmp_path: Path) -> None:
    expression = _expression("partisan-overview", "Tasks held")
    labels = 'job="partisan",instance="one",queue="mail"'

    _check(tmp_path, {f"partisan_db_up{{{labels}}}": "1x20"}, {expression: []})


def test_of_many_kinds_the_ten_slowest_are_shown_and_one_that_never_ran_leaves_no_nan(tmp_path: Path) -> None:
    expression = _expression("partisan-processors", "Duration, p95")
    series = {}
    for number in range(12):
        labels = f'job="partisan",instance="one",queue="default",processor="Kind{number}",outcome="completed"'
        for le in ("1", "+Inf"):
            series[f'partisan_task_duration_seconds_bucket{{{labels},le="{le}"}}'] = f"0+{number}x20"

    _check(
        tmp_path,
        series,
        {
            f"count({expression})": [{"labels": "{}", "value": 10}],
            f"count(({expression}) != ({expression}))": [],  # only NaN differs from itself
        },
    )
