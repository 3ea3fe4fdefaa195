"""Make ``multiprocessing`` work in tasks as in a program that was not started by ``multiprocessing``.

By default, a child of a fork server starts its own children from the same fork server. Ours has loaded the
project, and ignores the signals that a terminal sends to the group.

This module must not import anything from Django: ``main`` says why.
"""

import multiprocessing
from multiprocessing import forkserver


def restore(start_method: str | None) -> None:  # pragma: no cover: child process
    """Restore the interpreter's start method, or the one that the project has chosen, and its fork server.

    The descriptor that keeps our fork server alive stays open: the manager needs that server while a worker
    lives.
    """
    multiprocessing.set_start_method(None, force=True)
    if start_method is not None:
        multiprocessing.set_start_method(start_method)
    vars(forkserver._forkserver).update(vars(forkserver.ForkServer()))
