"""Prepare exceptions for the project's handlers: remove our own frames from the start of the traceback.

Error trackers store the local variables of every frame. Ours hold the row and the arguments of a task.
"""

from types import TracebackType
from typing import Final, TypeAlias

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

_PACKAGE: Final = __name__.partition(".")[0]


def exc_info_of(exception: BaseException) -> ExcInfo:
    """Return ``exc_info`` for an exception, with a traceback that begins in code that is not ours."""
    found = exception.__traceback__
    while found is not None and is_ours(found.tb_frame.f_globals.get("__name__")):
        found = found.tb_next
    return type(exception), exception, found


def is_ours(module: object) -> bool:
    """Return whether a module name belongs to this package."""
    return isinstance(module, str) and module.partition(".")[0] == _PACKAGE
