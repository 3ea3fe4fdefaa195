"""``run()`` of every kind of callable runs to its end, is refused at registration, or fails the task."""

import asyncio
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import partial, partialmethod, wraps
from typing import Any

import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction, sync_to_async

from django_partisan import registry
from django_partisan.definitions import TaskDefinition
from django_partisan.exceptions import RunNotExecuted, UnsupportedRunMethod
from django_partisan.processor import BaseTaskProcessor, CurrentTask
from tests.support.registry import Idle
from tests.support.rows import task_row

mood: ContextVar[str] = ContextVar("mood", default="calm")
executed: list[int] = []
"""The number of arguments of each execution."""


async def execute(*args: Any) -> str:
    await asyncio.sleep(0)
    executed.append(len(args))
    return "executed"


def execute_at_once(*args: Any) -> str:
    executed.append(len(args))
    return "executed"


def generate(*args: Any) -> Iterator[None]:
    executed.append(len(args))
    yield


async def generate_asynchronously(*args: Any) -> AsyncIterator[None]:
    executed.append(len(args))
    yield


def in_a_plain_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as most libraries do: the wrapper calls the function and does not await the result."""

    @wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


class Awaits:
    async def __call__(self) -> str:
        return await execute()


class Calls:
    def __call__(self) -> str:
        return execute_at_once()


class Generates:
    def __call__(self) -> Iterator[None]:
        executed.append(0)
        yield


def processor_with(run: Any) -> type[BaseTaskProcessor]:
    return type("Letter", (BaseTaskProcessor,), {"run": run, "__module__": "shop.partisan_tasks"})


def call(processor_class: type[BaseTaskProcessor]) -> Any:
    definition = TaskDefinition.of_processor(processor_class)
    return definition.call([], {}, CurrentTask(task_row(7), definition, "default"))


@pytest.fixture(autouse=True)
def nothing_was_executed() -> None:
    executed.clear()


@pytest.mark.parametrize(
    ("run", "arguments"),
    [
        (execute, 1),
        (staticmethod(execute), 0),
        (classmethod(execute), 1),
        (staticmethod(partial(execute, "more")), 1),
        (partialmethod(execute, "more"), 2),
        (partialmethod(partial(execute, "more"), "and more"), 3),
        (Awaits(), 0),
        (markcoroutinefunction(in_a_plain_function(execute)), 1),
        (sync_to_async(execute_at_once), 1),
    ],
    ids=[
        "method",
        "staticmethod",
        "classmethod",
        "partial",
        "partialmethod",
        "partialmethod of a partial",
        "callable object",
        "marked wrapper",
        "sync_to_async",
    ],
)
def test_a_coroutine_function_of_each_kind_is_executed_to_its_end(run, arguments):
    assert call(processor_with(run)) == "executed"
    assert executed == [arguments]


@pytest.mark.parametrize(
    "run",
    [execute_at_once, staticmethod(execute_at_once), async_to_sync(execute), Calls()],
    ids=["method", "staticmethod", "async_to_sync", "callable object"],
)
def test_a_plain_function_of_each_kind_is_called(run):
    assert call(processor_with(run)) == "executed"
    assert len(executed) == 1


@pytest.mark.parametrize(
    "run",
    [
        generate,
        generate_asynchronously,
        types.coroutine(generate),
        staticmethod(generate),
        classmethod(generate),
        partial(generate, "more"),
        partialmethod(generate_asynchronously, "more"),
        Generates(),
    ],
    ids=[
        "method",
        "asynchronous method",
        "coroutine of generators",
        "staticmethod",
        "classmethod",
        "partial",
        "partialmethod",
        "callable object",
    ],
)
def test_a_generator_function_of_each_kind_is_refused_at_registration_with_class_module_and_remedy(
    run, own_registry
):
    with pytest.raises(UnsupportedRunMethod) as refused:
        registry.register(processor_with(run))

    assert str(refused.value) == (
        "run() of the processor 'Letter' in shop.partisan_tasks is a generator function, whose code a call "
        "does not execute; expected a function or a coroutine function. Move the code with `yield` to "
        "another method, and iterate over it in run()."
    )
    assert not registry.definitions


class ReplacesItsRun(BaseTaskProcessor):
    def __init__(self) -> None:
        super().__init__()
        self.run = partial(execute, self)  # type: ignore[method-assign]


async def forget_to_await() -> Any:
    return execute()


class Waiting:
    """An awaitable that is not a coroutine."""

    def __await__(self) -> Iterator[None]:
        yield


async def schedule_and_forget() -> Any:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("processor_class", "what", "remedy"),
    [
        (processor_with(lambda self: execute()), "'coroutine' (execute)", "Await it"),
        (processor_with(in_a_plain_function(execute)), "'coroutine' (execute)", "Await it"),
        (ReplacesItsRun, "'coroutine' (execute)", "Await it"),
        (processor_with(property(lambda self: execute)), "'coroutine' (execute)", "Await it"),
        (processor_with(staticmethod(forget_to_await)), "'coroutine' (execute)", "Await it"),
        (processor_with(staticmethod(schedule_and_forget)), "'Future' (<Future", "Await it"),
        (processor_with(lambda self: Waiting()), "'Waiting' (<", "Await it"),
        (processor_with(in_a_plain_function(generate)), "'generator' (generate)", "Iterate"),
        (processor_with(lambda self: (0 for _ in [])), "'generator' (<lambda>.<locals>.<genexpr>", "Iterate"),
        (
            processor_with(lambda self: generate_asynchronously()),
            "'async_generator' (generate_asynchronously)",
            "Iterate",
        ),
    ],
    ids=[
        "not awaited",
        "plain decorator",
        "replaced in the object",
        "property",
        "asynchronous, not awaited",
        "future",
        "awaitable",
        "decorated generator",
        "generator expression",
        "asynchronous generator",
    ],
)
def test_a_run_that_returns_what_was_not_executed_fails_with_its_name_and_the_remedy(
    processor_class, what, remedy
):
    with pytest.raises(RunNotExecuted) as failed:  # an unclosed coroutine would fail this test
        call(processor_class)

    assert f"{processor_class.__name__}.run() returned an object of type {what}" in str(failed.value)
    assert remedy in str(failed.value)
    assert executed == []


@pytest.mark.parametrize("result", [0, "text", [1], {"a": 1}, iter([1]), Idle()])
def test_any_other_result_is_returned(result):
    assert call(processor_with(lambda self: result)) is result


@pytest.mark.parametrize(
    "error", [ValueError("no ink"), SystemExit("a task's own idea"), asyncio.CancelledError("enough")]
)
def test_what_a_coroutine_raises_is_raised_with_where_it_happened(error):
    async def run(self: BaseTaskProcessor) -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(type(error)) as raised:
        call(processor_with(run))

    assert raised.value is error
    assert raised.traceback[-1].name == "run"


def test_a_coroutine_sees_and_sets_context_variables_and_the_task_and_comes_back_to_this_thread():
    async def run(self: BaseTaskProcessor) -> tuple[Any, ...]:
        seen = mood.get(), self.task.id, threading.get_ident()
        mood.set("changed")
        return *seen, await sync_to_async(threading.get_ident)()

    token = mood.set("given")
    try:
        seen, task_id, loop_thread, sync_thread = call(processor_with(run))
        assert (seen, task_id, mood.get()) == ("given", 7, "changed")
    finally:
        mood.reset(token)

    assert loop_thread != sync_thread == threading.get_ident()
