"""The budget is counted with a real server, and is missed where a task costs more than it may."""

import subprocess
import sys

import pytest

from bench.budget import budget_file
from bench.budget.budget_file import Key
from tests.support.commands import ROOT


def budget(*options):
    return subprocess.run(
        [sys.executable, "-m", "bench.budget", *options], cwd=ROOT, capture_output=True, text=True
    )


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
    path = tmp_path / "budget.md"

    first = budget("--scenarios", "latency", "--budget", str(path), "--update")
    second = budget("--scenarios", "latency", "--budget", str(path))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr + second.stdout
    assert "figures are within their budgets." in second.stdout
