"""Functions as tasks, in a module that nothing imports until a worker gets one of their paths."""

import time
from typing import Any

from django_partisan.backend import task_options
from django_partisan.functions.framework import base

task: Any = base.task

LIMIT_SECONDS = 0.2


@task
def greet(name: str) -> str:
    return f"Hello, {name}"


@task
@task_options(timeout=LIMIT_SECONDS)
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@task
@task_options(timeout=LIMIT_SECONDS, max_attempts=2)
def refuse_to_end() -> None:
    """Exceed the time limit, and ignore every exception raised."""
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue
