"""The options of a task function, passed to ``@task`` or, before Django 6.1, to ``@task_options``."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.config.queue_keys import TIME_LIMIT
from django_partisan.config.validation import BOOLEAN, Rule, instance_of, integer, or_none
from django_partisan.functions.framework import AnyTask, InvalidTask

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE: Final = "_partisan_options"
_RULES: Final = {
    "timeout": or_none(TIME_LIMIT),
    "max_attempts": or_none(integer(1)),
    "retry": or_none(instance_of(ErrorsHandleConfig)),
    "backoff": or_none(
        Rule(callable, "a function that takes an exception and a task result, and returns seconds")
    ),
    "unique": or_none(BOOLEAN),
    "atomic": or_none(BOOLEAN),
}


@dataclass(frozen=True, kw_only=True)
class FunctionOptions:
    """The options of a function; ``None`` means the default.

    ``timeout`` is the time limit of each run in seconds; the default is the queue's limit. ``max_attempts``
    is the maximum number of runs that end with an exception, including the last; the default is 1.
    ``backoff`` is called with the exception and the task's result, and returns the seconds before the next
    run; the default is 5 s, doubled for each further run, at most an hour. ``retry`` replaces these two: it
    defines which errors lead to a retry, how often, and after how long. ``unique`` and ``atomic`` mean the
    same as ``UNIQUE_FOR_PARAMS`` and ``ATOMIC`` of a processor; both are ``False`` by default.
    """

    timeout: float | None = None
    max_attempts: int | None = None
    backoff: Callable[[BaseException, Any], float] | None = None
    retry: ErrorsHandleConfig | None = None
    unique: bool | None = None
    atomic: bool | None = None

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            value = getattr(self, name)
            if not rule.accepts(value):
                raise InvalidTask(f"{name} is {value!r}; expected {rule.expected}.")
        for name in ("max_attempts", "backoff"):
            if self.retry is not None and getattr(self, name) is not None:
                raise InvalidTask(f"retry and {name} are both set; expected one of them.")


NAMES: Final = tuple(field.name for field in fields(FunctionOptions))


def task_options(
    *,
    timeout: float | None = None,
    max_attempts: int | None = None,
    backoff: Callable[[BaseException, Any], float] | None = None,
    retry: ErrorsHandleConfig | None = None,
    unique: bool | None = None,
    atomic: bool | None = None,
) -> Callable[[F], F]:
    """Set the options of a function; use it as a decorator below ``@task``.

    ``FunctionOptions`` describes the options; other backends ignore them. Raises ``InvalidTask`` for an
    invalid value.
    """
    checked = FunctionOptions(
        timeout=timeout,
        max_attempts=max_attempts,
        backoff=backoff,
        retry=retry,
        unique=unique,
        atomic=atomic,
    )

    def decorate(function: F) -> F:
        if isinstance(function, AnyTask):  # type: ignore[misc] # not generic when it runs
            raise InvalidTask("task_options() was applied to a task; write @task_options below @task.")
        setattr(function, _ATTRIBUTE, checked)
        return function

    return decorate


@dataclass(frozen=True, slots=True, kw_only=True)
class PartisanTask(AnyTask, FunctionOptions):
    """A task of Django's framework with the options of ``FunctionOptions``."""

    def __post_init__(self) -> None:
        FunctionOptions.__post_init__(self)
        AnyTask.__post_init__(self)


def options_of(task: AnyTask) -> FunctionOptions:
    """Return the options of a task: its own first, then those of ``@task_options``.

    Raises ``InvalidTask`` if they are invalid together.
    """
    below: FunctionOptions = getattr(task.func, _ATTRIBUTE, FunctionOptions())
    values = {}
    for name in NAMES:
        own = getattr(task, name, None)
        values[name] = getattr(below, name) if own is None else own
    return FunctionOptions(**values)
