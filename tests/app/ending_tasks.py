"""A processor that leaves work for its worker's exit, if the environment requests it."""

import atexit
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from typing import Any

from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor
from django_partisan.signals import task_finished, worker_stopping
from tests.app import journal

ASKED: str = os.environ.get("TEST_ENDINGS", "")


def _tell_that_it_stops(queue: str, slot: int, **_: Any) -> None:
    journal.write("stopping", queue=queue, slot=slot)


def _tell_that_it_exits() -> None:
    if multiprocessing.current_process().name == "MainProcess":
        return  # in the manager or the fork server
    journal.write("exiting")
    if ASKED == "hang":
        time.sleep(60)


def _fork_a_child_that_exits(**_: Any) -> None:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    status = os.waitpid(child, 0)[1]
    journal.write("parent", code=os.waitstatus_to_exitcode(status))


if ASKED == "fork":
    for one in (task_finished, worker_stopping):
        one.connect(_fork_a_child_that_exits)
if ASKED:
    worker_stopping.connect(_tell_that_it_stops)
    shared = tempfile.TemporaryDirectory()
    atexit.register(_tell_that_it_exits)


@registry.register
class HoldBack(BaseTaskProcessor):
    """Log a line that a handler holds back, and print; record whether the shared folder exists."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        logging.getLogger("shop").warning("held back in task %s", self.task.id)
        print("printed")
        journal.write("held back", shared=os.path.isdir(shared.name), folder=shared.name)
        if self.args:
            journal.wait_at(self.args[0])
