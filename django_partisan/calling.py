"""Call ``run()`` of a processor so that "completed" means that its code has run.

Calling a coroutine function or a generator function only returns an object; the code has not started.
So coroutine functions are awaited, generator functions are refused when the class is registered, and a
run that returns such an object anyway fails.
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
    """A call of a coroutine function that a thread waits for and that can be interrupted."""

    def __init__(self) -> None:
        self._cancel: Callable[[], object] | None = None
        self._error: BaseException | None = None

    async def wait_for(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Await the function; if it was interrupted, raise that error instead of ``CancelledError``."""
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
        """Raise ``CancelledError`` inside the coroutine; return ``False`` if it is not running."""
        if self._cancel is None:
            return False
        self._error = error
        try:
            self._cancel()
        except RuntimeError:  # the event loop is closed
            return False
        return True


coroutines: Final[dict[int, RunningCoroutine]] = {}
"""The coroutine that each thread waits for, by the thread's ident."""


def is_asynchronous(processor_class: type[Any]) -> bool:
    """Return whether ``run()`` of a class is a coroutine function.

    For methods of all kinds, partials and objects with ``__call__``, the function that they call counts.
    For decorated functions, the decorator's function counts: it may call the original in any way.
    Raises ``UnsupportedRunMethod`` for a generator function.
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
    """Run a coroutine function until it ends, and return its result.

    It runs in an event loop in another thread, in a copy of this context. Code that it calls through
    ``sync_to_async()``, such as Django's asynchronous ORM, runs in this thread, on this thread's connections.
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
    if not is_awaitable and not isinstance(result, _GENERATORS):  # cheaper than ``collections.abc``
        return
    remedy = "Await it in an `async def`" if is_awaitable else "Iterate over it in the task"
    if isinstance(result, CoroutineType):
        result.close()  # otherwise Python warns about it later, during another task
    kind, returned = type(result).__name__, getattr(result, "__qualname__", result)
    raise RunNotExecuted(
        f"{code} returned an object of type {kind!r} ({returned}), whose code was not "
        f"executed; expected a result. {remedy}."
    )


def _called_by(run: Any) -> Any:
    """Return the function that ``run`` calls, or ``None`` if only a call could show it."""
    if isinstance(run, staticmethod | classmethod | MethodType):
        return run.__func__
    if isinstance(run, partial | partialmethod):
        return run.func
    call = getattr(type(run), "__call__", None)  # noqa: B004  # the function itself is needed
    return call if isinstance(call, FunctionType) else None
