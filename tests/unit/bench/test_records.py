"""What task bodies write down is what the runner reads."""

import os
import subprocess
import sys

import pytest

from bench.recorder import FOLDER, MODE_LATENCY
from bench.records import Records


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "records")


def run_bodies(records, *bodies):
    script = "from bench.recorder import hit\nfor i, m in " + repr(bodies) + ": hit(i, m)"
    subprocess.run([sys.executable, "-c", script], env=os.environ | {FOLDER: str(records.folder)}, check=True)


def test_bodies_of_several_processes_are_added_up(records):
    records.clear(10)

    run_bodies(records, (0, 0), (1, 0))
    run_bodies(records, (2, 0))

    progress = records.progress()
    assert (progress.count, progress.processes) == (3, 2)
    assert progress.first < progress.last


def test_lost_and_doubled_tasks_show(records):
    records.clear(4)

    run_bodies(records, (0, 0), (1, 0), (1, 0), (-5, 0))

    assert records.runs() == (2, 1)


def test_a_latency_task_is_timed_at_its_first_start(records):
    records.clear()

    run_bodies(records, (7, MODE_LATENCY), (7, MODE_LATENCY), (8, MODE_LATENCY))

    starts = records.starts()
    assert list(starts) == [7, 8]
    assert starts[7] == records.progress().first


def test_nothing_is_read_where_nothing_ran(records):
    records.clear(3)

    assert records.progress().count == 0
    assert records.runs() == (0, 0)
