"""What the SDK says of exports that fail, where nobody set up logging: each thing once a minute.

Every process that exports would repeat it for every batch. Workers say nothing; what they lose is
counted, and told by the manager.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

LOGGER: Final = "opentelemetry"
INTERVAL_SECONDS: Final = 60.0


class OnceAMinute(logging.Filter):
    """Let each message pass once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record's message did not pass within the last minute."""
        now = self._clock()
        if now - self._passed_at.get(record.msg, -INTERVAL_SECONDS) < INTERVAL_SECONDS:
            return False
        self._passed_at[record.msg] = now
        return True


def soften(tell: bool) -> None:
    """Have the SDK's warnings told rarely, or not at all; a host's own handlers hear everything."""
    logger = logging.getLogger(LOGGER)
    if logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler() if tell else logging.NullHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("OpenTelemetry: %(message)s"))
    handler.addFilter(OnceAMinute())
    logger.addHandler(handler)
