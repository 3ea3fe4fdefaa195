"""A test that runs until its terminal is closed; `test_terminal.py` runs it in a separate pytest process."""

import os
from pathlib import Path

from tests.app import partisan_tasks as processors
from tests.processes.managing import Bench
from tests.support.waiting import wait_until


def test_a_manager_and_its_task_go_on(bench: Bench):
    bench.ready(WORKERS_COUNT=1)
    processors.LeaveChild("never opened").delay()
    bench.wait_for("forked")
    Path(os.environ["READY_FILE"]).touch()

    wait_until(lambda: False, seconds=60)
