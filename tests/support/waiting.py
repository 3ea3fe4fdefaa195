"""Wait for a condition with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 20.0


def wait_until(
    condition: Callable[[], T], seconds: float = PATIENCE_SECONDS, what: str = "", every: float = 0.005
) -> T:
    """Return the first true value of ``condition``; fail when it takes longer than ``seconds``.

    ``condition`` is asked ``every`` so many seconds; ``what`` stands in the failure's message.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(every)
    return value


def let_pass(seconds: float) -> None:
    """Let time go by, where the length of a pause is what a test is about."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 1)
