"""The clock of leases: it goes on while the machine is suspended, as the database's clock does."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final


def clock(boottime: int | None) -> Callable[[], float]:
    """Return the clock with this id, or the monotonic one where the system has none that counts suspends."""
    return time.monotonic if boottime is None else partial(time.clock_gettime, boottime)


now: Final = clock(getattr(time, "CLOCK_BOOTTIME", None))
"""Return seconds since the machine started; all processes of a host read the same clock."""
