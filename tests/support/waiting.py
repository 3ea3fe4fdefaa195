"""Wait for a condition with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 20.0
SLOWEST_SECONDS = 0.02
"""Between two looks, after some waiting: hundreds of them would take the processor from what is awaited."""


def wait_until(
    condition: Callable[[], T],
    seconds: float = PATIENCE_SECONDS,
    what: str | Callable[[], str] = "",
    every: float = 0.005,
    progress: Callable[[], object] | None = None,
) -> T:
    """Return the first true value of ``condition``; fail when it takes longer than ``seconds``.

    ``every`` are the seconds between the first looks; later ones are up to 20 ms apart. ``what`` stands
    in the failure's message, and may be a function that is called for it then. Where there is
    ``progress``, ``seconds`` begin anew whenever its value is another than before: a slow machine is
    given time, and what stands still is not.
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
    """Let time go by, where the length of a pause is what a test is about."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 1)
