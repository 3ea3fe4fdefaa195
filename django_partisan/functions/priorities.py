"""The priorities of the framework, where the higher runs first, and of the table, where the lower does.

Both APIs have the same default: 0 in the framework is 10 in the table.
"""

from typing import Final

from django_partisan.functions.framework import base

_STORED_DEFAULT: Final = 10


def stored(priority: int) -> int:
    """Return a priority of the framework as the table has it."""
    return _STORED_DEFAULT - priority


def shown(priority: int) -> int:
    """Return a priority of the table as the framework has it, the nearest one that it accepts."""
    return max(base.TASK_MIN_PRIORITY, min(_STORED_DEFAULT - priority, base.TASK_MAX_PRIORITY))
