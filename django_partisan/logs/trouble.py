"""What becomes of a log line that cannot be made or written: counted, and told now and then."""

import logging
import sys
import threading
import time
from typing import Final

from django_partisan.telemetry import bus

COUNTED_AS: Final = "logs"
SILENCE_SECONDS: Final = 60.0

_told_at: dict[str, float] = {}
_lock = threading.Lock()


def note(what: str) -> None:
    """Count the exception under way; tell it on the last-resort handler once a minute for each ``what``.

    Never raises, so that a lost line is all that is lost.
    """
    bus.swallowed[COUNTED_AS] += 1
    now = time.monotonic()
    with _lock:
        if now - _told_at.get(what, -SILENCE_SECONDS) < SILENCE_SECONDS:
            return
        _told_at[what] = now
    error = sys.exc_info()
    kind = error[0].__name__ if error[0] else "no error"
    message = f"{what}: {kind}. Further losses are only counted for a minute."
    try:
        if logging.lastResort is not None:
            logging.lastResort.handle(
                logging.LogRecord("django_partisan.logs", logging.ERROR, __file__, 0, message, (), error)
            )
    except Exception:  # standard error is gone too: the count is all that can be kept
        bus.swallowed[COUNTED_AS] += 1
