"""Run a worker's exit handlers (``atexit``): its own, and those registered while the project was preloaded.

A fork copies the handlers, but from Python 3.13 children of ``multiprocessing`` drop the copies.
"""

import atexit
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

Handler: TypeAlias = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]

run: Final = atexit._run_exitfuncs
"""Run the exit handlers of this process, the last registered first; their errors are printed."""


@contextmanager
def noted() -> Iterator[list[Handler]]:
    """Record the exit handlers that are registered inside the block; they cannot be listed afterwards."""
    handlers: list[Handler] = []
    register, unregister = atexit.register, atexit.unregister

    def note(function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Callable[..., object]:
        handlers.append((function, args, kwargs))
        return register(function, *args, **kwargs)

    def note_removal(function: Callable[..., object], /) -> None:
        handlers[:] = [handler for handler in handlers if handler[0] != function]
        unregister(function)

    vars(atexit).update(register=note, unregister=note_removal)
    try:
        yield handlers
    finally:
        vars(atexit).update(register=register, unregister=unregister)


def take_over(handlers: list[Handler]) -> None:  # pragma: no cover: child process
    """Run in this process the handlers that were registered in the process that forked it.

    Temporary folders and other finalizers that already exist are left to that process, which shares them.
    """
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    for function, _, _ in handlers:
        atexit.unregister(function)
    for function, args, kwargs in handlers:
        atexit.register(function, *args, **kwargs)
