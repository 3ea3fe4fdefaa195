"""How many rows one statement takes where ``statement_timeout`` may cancel it."""

import time
from typing import Final

from django.db import Error

from django_partisan.sql.errors import ErrorKind, explained, kind_of

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

    def judge(self, error: Exception, rows: int, is_early: bool) -> Exception | None:
        """Note that a statement for ``rows`` rows failed; return the error if it is an outage, else ``None``.

        It is no outage if PostgreSQL cancelled the statement before our own deadline (``is_early``), and may
        finish one for fewer rows.
        """
        if not isinstance(error, Error) or kind_of(error) is not ErrorKind.CANCELLED:
            return error
        self.cancelled(rows)
        if rows > 1:
            return None if is_early else error
        return explained(error)

    def finished(self, rows: int) -> None:
        """Note that a statement for ``rows`` rows finished; the limit doubles at most every ten seconds."""
        if rows < self.rows or self.rows == self._at_most:
            return
        now = time.monotonic()
        if now >= self._grow_at:
            self.rows = min(2 * self.rows, self._at_most)
            self._grow_at = now + GROW_SECONDS
