"""The traceback of an exception as the host's handlers get it: without our own frames at its beginning.

Error trackers store the locals of every frame. Ours hold the row and the arguments of a task.
"""

from types import TracebackType
from typing import Final, TypeAlias

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

_PACKAGE: Final = __name__.partition(".")[0]


def exc_info_of(exception: BaseException) -> ExcInfo:
    """Return ``exc_info`` of an exception, whose traceback begins in code that is not ours."""
    found = exception.__traceback__
    while found is not None and is_ours(found.tb_frame.f_globals.get("__name__")):
        found = found.tb_next
    return type(exception), exception, found


def is_ours(module: object) -> bool:
    """Return whether a name is that of a module of this package."""
    return isinstance(module, str) and module.partition(".")[0] == _PACKAGE
