"""Django's task framework: that of Django 6, or its backport ``django-tasks`` where Django has none.

This is the only module that imports it, so that a project which does not use it needs neither.
"""

from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from django.tasks import base, signals
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TaskResult as BaseTaskResult
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist

    AnyTask: TypeAlias = base.Task[..., Any]
else:
    _NAME = "django.tasks" if find_spec("django.tasks") else "django_tasks"
    base = import_module(f"{_NAME}.base")
    signals = import_module(f"{_NAME}.signals")
    BaseTaskBackend = import_module(f"{_NAME}.backends.base").BaseTaskBackend
    BaseTaskResult = base.TaskResult
    AnyTask = base.Task
    _exceptions = import_module(f"{_NAME}.exceptions")
    TaskResultDoesNotExist = _exceptions.TaskResultDoesNotExist
    InvalidTask = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError

__all__ = [
    "AnyTask",
    "BaseTaskBackend",
    "BaseTaskResult",
    "InvalidTask",
    "TaskResultDoesNotExist",
    "as_stored",
    "base",
    "normalize_json",
    "signals",
]


def as_stored(task: AnyTask, **changes: Any) -> AnyTask:
    """Return a task with what its row says, also where its backend would not accept that any more."""
    made = object.__new__(type(task))
    for field in fields(task):
        object.__setattr__(made, field.name, changes.get(field.name, getattr(task, field.name)))
    return made


def normalize_json(value: Any) -> Any:
    """Return arguments as the framework stores them; raises ``TypeError`` for what is not JSON."""
    return base.normalize_json(value)  # type: ignore[attr-defined] # it is imported there
