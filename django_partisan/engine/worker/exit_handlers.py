"""Run a worker's exit handlers (``atexit``): its own, and those registered while the project was preloaded.

A fork copies the handlers.
"""

import atexit
import weakref
from typing import Final

run: Final = atexit._run_exitfuncs
"""Run the exit handlers of this process, the last registered first; their errors are printed."""


def leave_inherited_finalizers() -> None:  # pragma: no cover: child process
    """Leave temporary folders and other finalizers to the process that forked this one, which shares them."""
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
