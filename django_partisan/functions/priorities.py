"""Convert priorities: in the framework the higher number runs first, in the table the lower one.

Both have the same default: 0 in the framework is 10 in the table.
"""

from typing import Final

from django_partisan.functions.framework import base

_STORED_DEFAULT: Final = 10


def stored(priority: int) -> int:
    """Convert a priority of the framework to one of the table."""
    return _STORED_DEFAULT - priority


def shown(priority: int) -> int:
    """Convert a priority of the table to the nearest one that the framework accepts."""
    return max(base.TASK_MIN_PRIORITY, min(_STORED_DEFAULT - priority, base.TASK_MAX_PRIORITY))
