"""Import Django's task framework: ``django.tasks`` of Django 6, or else the backport ``django-tasks``.

Other modules import the framework from here only, so a project that does not use it needs neither.
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
    """Return a copy of a task with ``changes`` from its row, without validation.

    The backend may no longer accept values that it accepted when the task was enqueued.
    """
    made = object.__new__(type(task))
    for field in fields(task):
        object.__setattr__(made, field.name, changes.get(field.name, getattr(task, field.name)))
    return made


def normalize_json(value: Any) -> Any:
    """Return arguments as the framework stores them; raises ``TypeError`` for values that are not JSON."""
    return base.normalize_json(value)  # type: ignore[attr-defined] # it is imported there
