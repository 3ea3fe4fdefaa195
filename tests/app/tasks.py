"""Functions as tasks of Django's task framework."""

import asyncio
import time
from typing import Any

from django_partisan.backend import task_options
from django_partisan.config.const import DELAY_STRATEGY_EXPONENTIAL
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.exceptions import PostponeTask, RetryTask
from django_partisan.functions.framework import base

task: Any = base.task


@task
def add(one: Any, other: Any = 1) -> Any:
    return one + other


@task(takes_context=True)
def attempt(context: Any) -> int:
    return int(context.attempt)


@task
async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@task
def fail(message: str = "no luck") -> None:
    raise ValueError(message)


@task
def give(what: str) -> Any:
    return {"set": {1}, "nan": [1, float("nan")], "large": "x" * 2**21}[what]


@task
@task_options(max_attempts=3, backoff=lambda error, result: result.attempts - 1)
def flaky(fails: int = 2) -> str:
    raise ConnectionError("again")


@task
@task_options(unique=True)
def once(value: int) -> None:
    pass


@task
@task_options(atomic=True)
def together(value: int) -> int:
    return value


@task
def not_yet() -> None:
    raise PostponeTask(60)


@task
@task_options(timeout=0.2)
def slow(seconds: float) -> None:
    time.sleep(seconds)


@task(takes_context=True)
@task_options(max_attempts=3, backoff=lambda error, result: 0.5)
def flaky_context(context: Any) -> Any:
    """Fail twice, then return what the third run knows about the others."""
    result = context.task_result
    if context.attempt < 3:
        raise ConnectionError(f"run {context.attempt}")
    paths = [error.exception_class_path for error in result.errors]
    return [context.attempt, result.attempts, paths, len(result.worker_ids)]


@task
@task_options(max_attempts=2, backoff=lambda error, result: "soon")  # type: ignore[arg-type, return-value]
def wrong_backoff() -> None:
    raise ConnectionError


@task
@task_options(max_attempts=3)
def patient() -> None:
    raise ConnectionError


@task
@task_options(
    retry=ErrorsHandleConfig("*", 2, 5, DELAY_STRATEGY_EXPONENTIAL, never_retry_on=[PermissionError])
)
def ruled(allowed: bool = True) -> None:
    raise ConnectionError if allowed else PermissionError


@task
def asking() -> None:
    raise RetryTask(7, ConnectionError("busy"))


@task
@task_options(max_attempts=1)
def asking_in_vain() -> None:
    raise RetryTask


@task(takes_context=True)
@task_options(atomic=True, max_attempts=2)
def together_later(context: Any) -> str:
    if context.attempt == 1:
        raise ConnectionError
    return "done"


TASK_COUNT = 18
"""A name with an importable path, like a function's, that is not a function."""
