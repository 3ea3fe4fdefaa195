"""Count the Python instructions that threads execute.

The interpreter calls a trace function before each instruction (`f_trace_opcodes`). The number depends only on
the code and its input, not on the machine or its load, so it is counted instead of measuring time. A call of
C code, such as the database driver or `marshal`, is one instruction.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

import bench

Trace: TypeAlias = Callable[[FrameType, str, Any], Any]

OURS: Final = str(Path(bench.__file__).parent) + os.sep
"""The folder of the benchmarks, whose own code is not counted."""


class Instructions:
    """The number of instructions by role."""

    def __init__(self) -> None:
        self._cells: dict[str, list[list[int]]] = {}

    def of(self, role: str) -> int:
        """Return how many instructions the threads of a role have executed."""
        return sum(cell[0] for cell in self._cells.get(role, ()))

    @contextmanager
    def counted(self, role: str) -> Iterator[None]:
        """Count the instructions of this thread in functions that are called in a `with` block.

        Python 3.13 counts a function only from its second call on, so warm up in such a block, too.
        """
        cell = [0]
        self._cells.setdefault(role, []).append(cell)
        # Python 3.12 sends these events only if a frame requested them before.
        sys._getframe().f_trace_opcodes = True
        before = sys.gettrace()
        sys.settrace(_tracer(cell))
        try:
            yield
        finally:
            sys.settrace(before)


def _tracer(cell: list[int]) -> Trace:
    counted: dict[str, bool] = {}

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            cell[0] += 1
        return count

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in counted:
            counted[name] = not name.startswith(OURS)
        if not counted[name]:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return count

    return enter
