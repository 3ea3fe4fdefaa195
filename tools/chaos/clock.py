"""Change the clock of this process only, for `time` and `datetime`, even where they are already imported.

A subclass of `datetime` would not work: Django imports the class before it reads settings, and drivers create
objects of the original. So `now()` of the class is replaced. Python protects built-in classes and has no
public API for that.
"""

import ctypes
import gc
import time
from datetime import datetime, tzinfo


def turn(seconds: float) -> None:
    """Make `time.time()` and `datetime.now()` differ from the machine's clock by some seconds."""
    right = time.time
    time.time = lambda: right() + seconds
    [methods] = gc.get_referents(datetime.__dict__)
    methods["now"] = classmethod(_now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))  # or calls use a cached method


def _now(cls: type[datetime], tz: tzinfo | None = None) -> datetime:
    return cls.fromtimestamp(time.time(), tz)
