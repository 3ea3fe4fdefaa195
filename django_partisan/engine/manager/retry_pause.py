"""The pause before the next try: it doubles with each failure in a row."""

from typing import Final

_DOUBLINGS_AT_MOST: Final = 10  # every maximum is reached by then, and no float overflows


def pause_after(failures: int, first: float, at_most: float) -> float:
    """Return the seconds to wait after this many failures in a row; after one, ``first``."""
    doubled: float = first * 2 ** min(failures - 1, _DOUBLINGS_AT_MOST)
    return min(doubled, at_most)
