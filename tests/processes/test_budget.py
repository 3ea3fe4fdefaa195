"""The budget is counted with a real server, and fails where a task costs more than it may."""

import pytest

from bench.budget import budget_file
from bench.budget.budget_file import Key
from bench.budget.figures import FIGURES
from tests.support.commands import python


def budget(*options):
    return python("-m", "bench.budget", *options)


@pytest.mark.slow
def test_a_call_of_delay_costs_one_statement_and_one_commit_and_fails_a_smaller_budget(tmp_path):
    path = tmp_path / "budget.md"
    budget_file.write({Key("delay", "statements", "any"): 0.5}, path)

    done = budget("--scenarios", "delay", "--budget", str(path))

    assert done.returncode == 1, done.stderr
    assert "delay(): SQL statements: budget 0.5, found 1, ratio 2.000, margin 2%: GREW" in done.stdout
    assert "delay(): commits that wrote: no budget yet for any: 1" in done.stdout


@pytest.mark.slow
def test_a_task_that_runs_alone_is_counted_alike_twice(tmp_path):
    paths = [tmp_path / "first.md", tmp_path / "second.md"]

    done = [budget("--scenarios", "latency", "--budget", str(path), "--update") for path in paths]

    assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
    first, second = map(budget_file.read, paths)
    wal = {key for key in first if key.figure == "wal_bytes"}
    assert {key.figure for key in first} == set(FIGURES) - {"instructions_caller"}
    assert all(value > 0 for value in first.values()), first
    assert {key: first[key] for key in first.keys() - wal} == {
        key: second[key] for key in second.keys() - wal
    }
    assert [first[key] for key in wal] == pytest.approx([second[key] for key in wal], rel=0.02)
