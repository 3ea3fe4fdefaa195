"""Count the Python instructions that threads execute.

The interpreter calls a trace function before each instruction (`f_trace_opcodes`). The number depends on the
code and its input alone, not on the machine or its load, which is why it is counted and no time is measured.
What C code does, such as the database driver or `marshal`, is one instruction.
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
"""What the benchmarks themselves execute is not counted."""


class Instructions:
    """The numbers of instructions, by role."""

    def __init__(self) -> None:
        self._cells: dict[str, list[list[int]]] = {}

    def of(self, role: str) -> int:
        """Return how many instructions a role's threads have executed."""
        return sum(cell[0] for cell in self._cells.get(role, ()))

    @contextmanager
    def counted(self, role: str) -> Iterator[None]:
        """Count what this thread executes in functions that are called in a `with` block.

        Python 3.13 counts a function from its second call on, so warm up in such a block as well.
        """
        cell = [0]
        self._cells.setdefault(role, []).append(cell)
        # Python 3.12 sends these events only if a frame had asked for them before.
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
