"""Count log lines that could not be made or written, and report them at most once a minute."""

import logging
import sys
import time
from typing import Final

from django_partisan.telemetry import swallowed

COUNTED_AS: Final = "logs"
SILENCE_SECONDS: Final = 60.0

# When each problem was last reported, by the monotonic clock.
reported_at: Final[dict[str, float]] = {}


def note(what: str, lines: int = 1) -> None:
    """Count the current exception for each of ``lines``; report it at most once a minute for each ``what``.

    The last-resort handler writes the report. Never raises, so that nothing but the line is lost.
    """
    swallowed.counts[COUNTED_AS] += lines
    now = time.monotonic()
    if now - reported_at.get(what, -SILENCE_SECONDS) < SILENCE_SECONDS:
        return
    reported_at[what] = now
    error = sys.exc_info()
    message = f"{what}: {type(error[1]).__name__}. More are only counted for a minute."
    try:
        if logging.lastResort is not None:
            logging.lastResort.handle(
                logging.LogRecord("django_partisan.logs", logging.ERROR, __file__, 0, message, (), error)
            )
    except Exception:  # standard error cannot be written either: only count it
        swallowed.counts[COUNTED_AS] += 1
