"""Set the clock of this process alone, for `time` and `datetime`, whoever has imported them before.

A subclass of `datetime` would not do: Django has imported the class before it reads settings, and drivers
make objects of the original. So its `now()` is replaced; Python protects built-in classes, and has no public
way to do that.
"""

import ctypes
import gc
import time
from datetime import datetime, tzinfo


def turn(seconds: float) -> None:
    """Have `time.time()` and `datetime.now()` differ by some seconds from the machine's clock."""
    right = time.time
    time.time = lambda: right() + seconds
    [methods] = gc.get_referents(datetime.__dict__)
    methods["now"] = classmethod(_now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))  # or calls go on with the method they know


def _now(cls: type[datetime], tz: tzinfo | None = None) -> datetime:
    return cls.fromtimestamp(time.time(), tz)
