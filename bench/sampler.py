"""Sample where each thread of this process spends its CPU time, at little cost."""

import sys
import threading
import time
from collections import defaultdict
from types import FrameType
from typing import Any, TypeAlias

INTERVAL_SECONDS = 0.002
SWITCH_SECONDS = 0.0005
"""How long a busy thread keeps the interpreter when the sampler requests it."""

Seconds: TypeAlias = defaultdict[tuple[str, str], float]
"""CPU time by thread and position."""


class Sampler(threading.Thread):
    """Attributes the CPU time of a thread between two samples to its position in the second one."""

    def __init__(self) -> None:
        super().__init__(name="bench-sampler", daemon=True)
        self.own: Seconds = defaultdict(float)
        self.inclusive: Seconds = defaultdict(float)
        self.lines: Seconds = defaultdict(float)
        self.samples = 0
        self._used: dict[int, float] = {}
        self._done = threading.Event()

    def run(self) -> None:
        """Take samples until `finish()` is called."""
        sys.setswitchinterval(SWITCH_SECONDS)
        while not self._done.wait(INTERVAL_SECONDS):
            self._take_sample()

    def finish(self) -> dict[str, Any]:
        """Stop; return the seconds by thread and position, as plain values."""
        self._done.set()
        self.join()
        return {
            "samples": self.samples,
            "own": [[*place, seconds] for place, seconds in self.own.items()],
            "inclusive": [[*place, seconds] for place, seconds in self.inclusive.items()],
            "lines": [[*place, seconds] for place, seconds in self.lines.items()],
        }

    def _take_sample(self) -> None:
        frames = sys._current_frames()
        self.samples += 1
        for thread in threading.enumerate():
            ident = thread.ident
            if thread is self or ident is None or ident not in frames:
                continue
            used = time.clock_gettime(time.pthread_getcpuclockid(ident))
            seconds = used - self._used.get(ident, used)
            self._used[ident] = used
            if seconds > 0:
                self._note(thread.name, frames[ident], seconds)

    def _note(self, thread: str, frame: FrameType, seconds: float) -> None:
        name = _name(frame)
        self.own[thread, name] += seconds
        self.lines[thread, f"{name}:{frame.f_lineno}"] += seconds
        below: set[str] = set()
        walked: FrameType | None = frame
        while walked is not None:
            below.add(_name(walked))
            walked = walked.f_back
        for name in below:
            self.inclusive[thread, name] += seconds


def _name(frame: FrameType) -> str:
    code = frame.f_code
    # Code objects have qualified names since Python 3.11.
    return f"{frame.f_globals.get('__name__', '?')}:{getattr(code, 'co_qualname', code.co_name)}"
