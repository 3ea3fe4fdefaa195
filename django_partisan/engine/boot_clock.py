"""The clock that leases use. Like the database's clock, it keeps running while the machine is suspended."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final


def clock(boottime: int | None) -> Callable[[], float]:
    """Return the clock with this id, or the monotonic clock if none on this system counts suspended time."""
    return time.monotonic if boottime is None else partial(time.clock_gettime, boottime)


now: Final = clock(getattr(time, "CLOCK_BOOTTIME", None))
"""Return the seconds since the machine started. All processes on a host read the same clock."""
