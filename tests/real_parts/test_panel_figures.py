"""Figures of panels that take more than a sum, from series whose answer is known; promtool computes them."""

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
    """Fail unless promtool computes what is expected of each expression after a quarter of an hour."""
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
            f"count(({expression}) != ({expression}))": [],  # NaN alone differs from itself
        },
    )
