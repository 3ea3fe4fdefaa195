"""The runner reads back what task bodies record."""

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


@pytest.mark.slow
def test_bodies_of_several_processes_are_added_up_and_lost_and_doubled_tasks_show(records):
    records.clear(5)
    assert (records.progress().count, records.runs()) == (0, (0, 0))

    run_bodies(records, (0, 0), (1, 0), (1, 0), (-5, 0))
    run_bodies(records, (2, MODE_LATENCY), (2, MODE_LATENCY), (3, MODE_LATENCY))

    progress, starts = records.progress(), records.starts()
    assert progress.processes == 2
    assert progress.first < progress.last
    assert records.runs()[1] == 2
    assert list(starts) == [2, 3]
