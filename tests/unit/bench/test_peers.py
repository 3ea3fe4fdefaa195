"""The peers' harness is asked for the cases of pgbench that a scenario is compared with."""

from pathlib import Path

import pytest

from bench.peers import Harness

LIMIT = """
import json, os, sys
with open(os.environ["PEERS_RESULTS"], "a") as file:
    for case in sys.argv[1:] or ["everything"]:
        row = {"scenario": "limit", "peer": case, "t": 0.0, "load": 0.0, "result": {"rate": 1.0}}
        print(json.dumps(row), file=file)
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """A harness whose pgbench only reports which cases it was asked for."""
    (tmp_path / "pgbench").mkdir()
    (tmp_path / "pgbench" / "limit.py").write_text(LIMIT)
    return Harness(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("scenario", "tasks", "cases"),
    [
        ("drain", 20_000, ["update+delete:2000", "update+delete:10"]),
        ("drain", 20_001, ["update+delete:2000"]),
        ("enqueue", 3_000, ["insert:1", "insert:1000"]),
        ("latency", 200, []),
    ],
)
def test_a_scenario_is_measured_beside_its_cases(
    harness: Harness, scenario: str, tasks: int, cases: list[str]
) -> None:
    assert [measurement.subject for measurement in harness.limit(scenario, tasks)] == cases
