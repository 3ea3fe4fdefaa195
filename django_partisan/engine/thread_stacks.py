"""Report the stack of every thread of a process, on a signal or on request.

The interrupted thread may hold any lock. Therefore the signal handler only captures the stacks, and a new
thread emits them. Workers import this module before Django, so it imports nothing of the package at module
level.
"""

import _thread
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import PurePath
from types import FrameType


def report(number: int, frame: FrameType | None) -> None:
    """Emit the stack of each thread; a signal handler that never blocks."""
    # Not threading.Thread, whose start takes a lock, and no source lines, which are read from files.
    stacks = {
        ident: traceback.StackSummary.extract(traceback.walk_stack(top), lookup_lines=False)
        for ident, top in {**sys._current_frames(), _thread.get_ident(): frame}.items()
    }
    _thread.start_new_thread(_emit, (stacks,))


def report_all() -> None:
    """Emit the stack of each thread, from any thread."""
    report(0, sys._current_frames()[_thread.get_ident()])


def shown(stack: traceback.StackSummary) -> str:
    """Format a stack as one line, innermost call first."""
    return " < ".join(f"{call.name} {_short(call.filename)}:{call.lineno}" for call in stack)


def _short(path: str) -> str:
    return "/".join(PurePath(path).parts[-2:])


def _emit(
    stacks: Mapping[int, traceback.StackSummary],
) -> None:  # pragma: no cover: coverage traces the threads of threading only
    from django_partisan.telemetry import bus
    from django_partisan.telemetry.events.managers import ThreadStack

    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, stack in stacks.items():
        bus.emit(ThreadStack, names.get(ident, f"thread {ident}"), shown(stack))
