"""Functions whose worker is killed after they returned, before their outcome is sent to the manager."""

import os
import signal
from typing import Any, Final

from django_partisan.backend import task_options
from django_partisan.functions.framework import base, signals
from tests.app import journal

task: Any = base.task


@task(takes_context=True)
def give_run(context: Any) -> list[int]:
    """Return the attempt's number and the worker's process id."""
    return _give_run(context)


@task(takes_context=True)
@task_options(atomic=True)
def give_run_and_settle(context: Any) -> list[int]:
    """Do the same, with the completion committed together with the run."""
    return _give_run(context)


def _give_run(context: Any) -> list[int]:
    journal.write("returned", run=context.attempt)
    return [context.attempt, os.getpid()]


_DYING: Final = (give_run.func, give_run_and_settle.func)


def die_once(task_result: Any, **_: Any) -> None:
    """Kill the worker of a first attempt, between the function's return and the report to the manager."""
    if task_result.task.func in _DYING and task_result.attempts == 1:
        os.kill(os.getpid(), signal.SIGKILL)


signals.task_finished.connect(die_once)
