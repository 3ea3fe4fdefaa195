"""The measurement of large tables runs every case and prints one line for each."""

import pytest

from bench.scale import CASES
from tests.support.commands import python


@pytest.mark.slow
def test_every_case_is_measured_and_compared_with_the_plain_one():
    options = ["--rows", "300", "--tasks", "200", "--claim", "50", "--open-seconds", "0.1"]

    done = python("-m", "bench.scale", *options)

    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows] == ["case", *CASES]
    assert all(float(row[2].replace(",", "")) > 0 for row in rows[1:])
    assert rows[1][3].strip() == "1.00"
