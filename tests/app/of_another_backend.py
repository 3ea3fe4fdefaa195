"""A task of another backend unless it is enqueued with ``using()``; the settings must define that backend."""

from typing import Any

from django_partisan.backend import task_options
from django_partisan.functions.framework import base

task: Any = base.task


@task(backend="other")
@task_options(max_attempts=2)
def shout(text: str) -> str:
    return text.upper()
