"""How many rows one statement takes where ``statement_timeout`` may cancel it."""

import time
from typing import Final

GROW_SECONDS: Final = 10.0


class BatchLimit:
    """Halve the size of batches when one was cancelled; let it grow again, step by step."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self.rows = at_most
        """How many rows the next statement may take."""
        self._grow_at = 0.0

    def cancelled(self, rows: int) -> None:
        """Note that a statement for ``rows`` rows was cancelled."""
        self.rows = max(1, min(self.rows, rows) // 2)
        self._grow_at = time.monotonic() + GROW_SECONDS

    def finished(self, rows: int) -> None:
        """Note that a statement for ``rows`` rows finished; the limit doubles at most every ten seconds."""
        if rows < self.rows or self.rows == self._at_most:
            return
        now = time.monotonic()
        if now >= self._grow_at:
            self.rows = min(2 * self.rows, self._at_most)
            self._grow_at = now + GROW_SECONDS
