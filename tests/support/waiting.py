"""Wait for a condition with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 20.0
SLOWEST_SECONDS = 0.02
"""The longest pause between two checks; hundreds of checks would take CPU time from the awaited process."""


def wait_until(
    condition: Callable[[], T],
    seconds: float = PATIENCE_SECONDS,
    what: str | Callable[[], str] = "",
    every: float = 0.005,
    progress: Callable[[], object] | None = None,
) -> T:
    """Return the first true value of ``condition``; fail when it takes longer than ``seconds``.

    Checks are at least ``every`` seconds apart; the pause grows to 20 ms with the time waited. The failure's
    message contains ``what``, or what it returns if it is a function. With ``progress``, the deadline is
    extended by ``seconds`` each time that it passes and ``progress()`` has changed: a slow machine gets more
    time, a process that hangs does not.
    """
    began = time.monotonic()
    deadline, reached = began + seconds, progress and progress()
    while not (value := condition()):
        looked = time.monotonic()
        if looked >= deadline:
            now = progress and progress()
            if now == reached:
                awaited = what() if callable(what) else what or condition
                raise AssertionError(f"not within {seconds:g} s: {awaited}")
            deadline, reached = time.monotonic() + seconds, now
        time.sleep(max(every, min((looked - began) / 20, SLOWEST_SECONDS)))
    return value


def let_pass(seconds: float) -> None:
    """Wait for a fixed time, where the length of a pause is the subject of the test."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 1)
