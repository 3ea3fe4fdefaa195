"""Python collects no garbage while pytest collects tests, and does in every process afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WATCH = """
import gc, os
from pathlib import Path

def note(where):
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(f"{where}: {gc.isenabled()}\\n")

def pytest_itemcollected():
    note("at a test")

def pytest_sessionfinish():
    note("at the end")
"""
ONE_TEST = "test_progress.py::test_what_stands_still_fails_after_its_seconds"


@pytest.mark.slow
def test_garbage_is_collected_again_in_the_process_that_collected_tests_and_in_the_one_that_did_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "watch.py").write_text(WATCH)
    notes = tmp_path / "notes"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "watch", "-n", "1"]

    subprocess.run(
        [*command, str(Path(__file__).parent / ONE_TEST)],
        env={**ours, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "NOTES": str(notes)},
        check=True,
    )

    assert notes.read_text().splitlines() == ["at a test: False", "at the end: True", "at the end: True"]
