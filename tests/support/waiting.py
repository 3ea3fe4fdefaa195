"""Wait for a condition with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 20.0


def wait_until(
    condition: Callable[[], T],
    seconds: float = PATIENCE_SECONDS,
    what: str | Callable[[], str] = "",
    every: float = 0.005,
    progress: Callable[[], object] | None = None,
) -> T:
    """Return the first true value of ``condition``; fail when it takes longer than ``seconds``.

    ``every`` are the seconds between two looks; ``what`` stands in the failure's message, and may be
    a function that is called for it then. Where there is ``progress``, ``seconds`` begin anew whenever
    its value is another than before: a slow machine is given time, and what stands still is not.
    """
    deadline, reached = time.monotonic() + seconds, progress and progress()
    while not (value := condition()):
        if time.monotonic() >= deadline:
            now = progress and progress()
            if now == reached:
                awaited = what() if callable(what) else what or condition
                raise AssertionError(f"not within {seconds:g} s: {awaited}")
            deadline, reached = time.monotonic() + seconds, now
        time.sleep(every)
    return value


def let_pass(seconds: float) -> None:
    """Let time go by, where the length of a pause is what a test is about."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 1)
