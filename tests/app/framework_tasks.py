"""Functions that use only Django's task framework, for tests of its documented behavior."""

import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

base: Any = import_module(f"{'django.tasks' if find_spec('django.tasks') else 'django_tasks'}.base")
task: Any = base.task

notes: list[Any] = []
"""The arguments that ``note()`` was called with, in the order of its runs."""


@task
def give_back(value: Any = None, **more: Any) -> Any:
    return {**more, "value": value} if more else value


@task
def note(value: Any) -> None:
    notes.append(value)


@task
async def give_back_later(value: Any) -> Any:
    return value


@task
def fail(message: str = "no luck") -> None:
    raise LookupError(message)


@task
def give_no_json() -> Any:
    return datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


@task
def double_dictionary(key: Any) -> Any:
    return {key: key * 2}


@task(takes_context=True)
def look_at_itself(context: Any, value: Any = None) -> Any:
    """Return what a run sees of its own task: through its context, and through its id."""
    result = context.task_result
    stored = look_at_itself.get_result(result.id)
    return {
        "attempt": context.attempt,
        "value": value,
        "ids": [result.id, stored.id],
        "statuses": [result.status, stored.status],
        "started": [result.started_at is not None, stored.started_at is not None],
        "attempts": [result.attempts, stored.attempts],
    }


@task(takes_context=True)
def change_the_context(context: Any) -> None:
    context.task_result = None


@task(priority=7)
def with_priority() -> None: ...
