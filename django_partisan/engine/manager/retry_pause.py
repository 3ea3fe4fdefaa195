"""Compute the pause before the next try, which doubles with each failure in a row."""

from typing import Final

_DOUBLINGS_AT_MOST: Final = 10  # every maximum is reached by then, and the float cannot overflow


def pause_after(failures: int, first: float, at_most: float) -> float:
    """Return the seconds to wait after ``failures`` in a row: ``first`` after one, at most ``at_most``."""
    doubled: float = first * 2 ** min(failures - 1, _DOUBLINGS_AT_MOST)
    return min(doubled, at_most)
