"""Detach the processes that tasks fork from their worker.

A fork copies the whole worker. In the child, the worker's descriptors are therefore closed, its database
connections dropped without closing them, and its signal handlers replaced by the defaults. If the child
leaves ``run()``, it ends before it could report, settle, or run the next task in place of its parent.

This module must not import anything from Django at module level: ``main`` says why.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from django_partisan.engine import thread_stacks

_close: Final[list[Callable[[], None]]] = []
_inherited: Final[list[Any]] = []
"""The parent's driver connections and pools, kept because deleting one would warn or close the shared
socket."""
is_child = False


def leave_to_manager(number: int, frame: FrameType | None) -> None:
    """Do nothing: the manager handles signals that a terminal sends to the whole process group."""


_HANDLERS: Final = (leave_to_manager, thread_stacks.report)
"""A worker's signal handlers, which the processes that tasks fork do not keep."""


def watch(*close: Callable[[], None]) -> None:  # pragma: no cover: child process
    """Detach all processes forked from now on from this worker, and call each ``close`` in them."""
    _close.extend(close)
    handled = [one for one in signal.valid_signals() if signal.getsignal(one) in _HANDLERS]
    mask = threading.local()

    def hold_signals() -> None:
        mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)

    def take_signals() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, getattr(mask, "before", ()))

    def detach_child() -> None:
        for number in handled:
            if signal.getsignal(number) in _HANDLERS:
                default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, default)
        take_signals()  # a signal held since the fork ends the child now; our handler would ignore it
        _detach_child()

    os.register_at_fork(before=hold_signals, after_in_parent=take_signals, after_in_child=detach_child)


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and return its result; a process that it forks ends here if it leaves the function."""
    try:
        value = function(*arguments)
    except BaseException as error:
        end_if_child(error)
        raise
    if is_child:
        end_if_child()  # pragma: no cover: child process
    return value


def end_if_child(error: BaseException | None = None) -> None:
    """End this process if a task has forked it, with the exit code that ``error`` asks for.

    Exit handlers do not run, because they belong to the worker.
    """
    if not is_child:
        return
    _end(error)  # pragma: no cover: child process


def _end(error: BaseException | None) -> None:  # pragma: no cover: child process
    code: Any = error.code if isinstance(error, SystemExit) else int(error is not None)
    try:
        if error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        elif code is not None and not isinstance(code, int):  # like the interpreter
            print(code, file=sys.stderr)
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit((code or 0) & 0xFF)


def _detach_child() -> None:  # pragma: no cover: child process
    global is_child
    is_child = True
    while _close:  # a child of this child has nothing left to close
        _close.pop()()
    _forget_connections()


def _forget_connections() -> None:  # pragma: no cover: child process
    from django.db import connections

    from django_partisan.engine.worker.connection_state import forget

    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            _inherited.append(connection.connection)
            forget(connection)
    for connection in connections.all():  # also those unused in this thread: a pool belongs to the class
        if pools := getattr(connection, "_connection_pools", None):
            _inherited.append(dict(pools))
            pools.clear()
