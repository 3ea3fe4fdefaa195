"""How ``run()`` of a processor is called, so that "completed" means that its code has run.

A call alone does not execute every function: that of a coroutine function or generator function returns
an object, and its code has not begun. Coroutine functions are awaited, generator functions are refused
when the class is registered, and a run that returns such an object all the same fails.
"""

import asyncio
from collections.abc import Callable
from functools import partial, partialmethod
from inspect import getattr_static, isasyncgenfunction, isgeneratorfunction
from threading import get_ident
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction

from django_partisan.exceptions import RunNotExecuted, UnsupportedRunMethod

_GENERATORS: Final = (GeneratorType, AsyncGeneratorType)


class RunningCoroutine:
    """A coroutine function that a thread waits for."""

    def __init__(self) -> None:
        self._cancel: Callable[[], object] | None = None
        self._error: BaseException | None = None

    async def wait_for(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Await the function, and raise the error of an interruption in place of ``CancelledError``."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
        try:
            return await function(*args, **kwargs)
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise self._error from None

    def interrupt(self, error: BaseException) -> bool:
        """Have ``CancelledError`` raised inside the coroutine; return False if it does not run now."""
        if self._cancel is None:
            return False
        self._error = error
        try:
            self._cancel()
        except RuntimeError:  # its loop is closed
            return False
        return True


coroutines: Final[dict[int, RunningCoroutine]] = {}
"""What each thread waits for, by its ident."""


def is_asynchronous(processor_class: type[Any]) -> bool:
    """Return whether ``run()`` of a class is a coroutine function.

    Methods of all kinds, partials and objects with ``__call__`` count as what they call. Decorated
    functions count as the decorator's function, which may call the original in any way. Raises
    ``UnsupportedRunMethod`` for a generator function.
    """
    run = getattr_static(processor_class, "run", None)
    while run is not None:
        if iscoroutinefunction(run):
            return True
        if isgeneratorfunction(run) or isasyncgenfunction(run):
            raise UnsupportedRunMethod(
                f"run() of the processor {processor_class.__name__!r} in {processor_class.__module__} is a "
                "generator function, whose code a call does not execute; expected a function or a coroutine "
                "function. Move the code with `yield` to another method, and iterate over it in run()."
            )
        run = _called_by(run)
    return False


def run_asynchronously(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a coroutine function to its end, and return what it returns.

    It runs in an event loop in another thread, in a copy of this context; what it does by
    ``sync_to_async()``, as Django's asynchronous ORM, happens in this thread, on its connections.
    """
    thread = get_ident()
    coroutine = coroutines[thread] = RunningCoroutine()
    try:
        return async_to_sync(coroutine.wait_for)(function, args, kwargs)
    finally:
        del coroutines[thread]


def ensure_executed(code: str, result: Any) -> None:
    """Raise ``RunNotExecuted`` if ``code`` returned a coroutine, another awaitable, or a generator."""
    is_awaitable = hasattr(type(result), "__await__")
    if not is_awaitable and not isinstance(result, _GENERATORS):  # cheaper than to ask the abstract classes
        return
    remedy = "Await it in an `async def`" if is_awaitable else "Iterate over it in the task"
    if isinstance(result, CoroutineType):
        result.close()  # else Python warns of it later, in another task
    kind, returned = type(result).__name__, getattr(result, "__qualname__", result)
    raise RunNotExecuted(
        f"{code} returned an object of type {kind!r} ({returned}), whose code was not "
        f"executed; expected a result. {remedy}."
    )


def _called_by(run: Any) -> Any:
    """Return what ``run`` calls, if that can be told without calling it, else ``None``."""
    if isinstance(run, staticmethod | classmethod | MethodType):
        return run.__func__
    if isinstance(run, partial | partialmethod):
        return run.func
    call = getattr(type(run), "__call__", None)  # noqa: B004  # its function is wanted, not whether it has one
    return call if isinstance(call, FunctionType) else None
