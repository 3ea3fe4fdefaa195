"""The garbage collector is off while pytest collects tests, and on in every process afterwards."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.commands import python

WATCH = """
import gc, os
from pathlib import Path

def note(where):
    with Path(os.environ["NOTES"]).open("a") as notes:
        process = os.environ.get("PYTEST_XDIST_WORKER", "main")
        collects = "on" if gc.isenabled() else "off"
        modules = "frozen" if gc.get_freeze_count() else "not frozen"
        notes.write(f"{process}, {where}: {collects}, {modules}\\n")

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
    path = os.pathsep.join([str(tmp_path), *sys.path])
    options = ["-p", "no:cacheprovider", "-p", "watch", "-n", "1"]

    done = python(
        "-m",
        "pytest",
        *options,
        str(Path(__file__).parent / ONE_TEST),
        env={**ours, "PYTHONPATH": path, "NOTES": str(notes)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert notes.read_text().splitlines() == [
        "gw0, at a test: off, not frozen",
        "gw0, at the end: on, frozen",
        "main, at the end: on, not frozen",
    ]
