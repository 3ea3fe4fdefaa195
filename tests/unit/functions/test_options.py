"""The options of a function: on its task, below ``@task``, and which of them are refused."""

import inspect
from typing import Any

import pytest

from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.functions.framework import InvalidTask, base
from django_partisan.functions.options import NAMES, FunctionOptions, PartisanTask, options_of, task_options

pytestmark = pytest.mark.usefixtures("own_registry")


task: Any = base.task
LIMIT = "a number of seconds, at least 0.001 and at most 3155760000, or None"
RETRY = ErrorsHandleConfig("*", 3, 1)


def plain() -> None: ...


@task_options(max_attempts=3, unique=True)
def decorated() -> None: ...


@task_options(retry=RETRY)
def ruled() -> None: ...


def task_of(function: Any, **options: Any) -> PartisanTask:
    """Return a task as ``@task`` of Django 6.1 makes it; the class in Django 6.0 has no defaults."""
    defaults: dict[str, Any] = {
        "priority": 0,
        "backend": "default",
        "queue_name": "default",
        "run_after": None,
    }
    return PartisanTask(func=function, takes_context=False, **defaults, **options)


def test_a_function_without_options_has_the_defaults():
    assert options_of(task_of(plain)) == FunctionOptions()


def test_options_below_the_task_count_unless_the_task_has_its_own():
    task = task_of(decorated, max_attempts=7, atomic=True)

    assert options_of(task) == FunctionOptions(max_attempts=7, unique=True, atomic=True)


def test_using_does_not_change_the_options():
    task = task_of(decorated, max_attempts=7).using(priority=5)

    assert options_of(task).max_attempts == 7


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("max_attempts", 0, "an integer, at least 1, or None"),
        ("max_attempts", "3", "an integer, at least 1, or None"),
        ("retry", {"retries_count": 3}, "an instance of ErrorsHandleConfig, or None"),
        ("backoff", 5, "a function that takes an exception and a task result, and returns seconds, or None"),
        pytest.param("timeout", 10**400, LIMIT, id="too_large"),
        ("timeout", 1e300, LIMIT),
        ("unique", 1, "True or False, or None"),
        ("atomic", "yes", "True or False, or None"),
    ],
)
def test_a_wrong_value_is_refused_on_the_task_and_below_it(option: str, value: Any, expected: str):
    for define in (task_options, lambda **options: task_of(plain, **options)):
        with pytest.raises(InvalidTask) as caught:
            define(**{option: value})

        assert str(caught.value) == f"{option} is {value!r}; expected {expected}."


@pytest.mark.parametrize(("option", "value"), [("max_attempts", 1), ("backoff", lambda error, result: 1)])
def test_a_retry_beside_what_it_replaces_is_refused(option: str, value: Any):
    given: dict[str, Any] = {"retry": RETRY, option: value}
    beside: dict[str, Any] = {option: value}

    for define in (lambda: task_options(**given), lambda: task_of(plain, **given)):
        with pytest.raises(InvalidTask, match=f"^retry and {option} are both set; expected one of them"):
            define()
    with pytest.raises(InvalidTask, match="are both set"):
        options_of(task_of(ruled, **beside))


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'tiemout'"):
        task_options(tiemout=3)  # type: ignore[call-arg] # what a type checker sees


def test_the_options_of_the_decorator_are_those_of_a_function():
    parameters = inspect.signature(task_options).parameters.values()

    assert tuple(parameter.name for parameter in parameters) == NAMES
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}


def test_options_above_the_task_are_refused():
    with pytest.raises(InvalidTask, match="write @task_options below @task"):
        task_options(unique=True)(task(plain))
