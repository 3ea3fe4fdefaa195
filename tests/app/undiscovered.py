"""A function as a task, in a module that nothing imports before a worker meets its path."""

from typing import Any

from django_partisan.functions.framework import base

task: Any = base.task


@task
def greet(name: str) -> str:
    return f"Hello, {name}"
