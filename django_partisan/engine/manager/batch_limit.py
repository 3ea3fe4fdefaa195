"""Adapt the number of rows per statement to what PostgreSQL finishes within ``statement_timeout``."""

import time
from typing import Final

from django.db import Error

from django_partisan.sql.errors import ErrorKind, explained, kind_of

GROW_SECONDS: Final = 10.0


class BatchLimit:
    """The maximum size of a batch: halved when a statement is cancelled, then doubled again step by step."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self.rows = at_most
        """Maximum number of rows of the next statement."""
        self._grow_at = 0.0

    def cancelled(self, rows: int) -> None:
        """Halve the limit, because a statement for ``rows`` rows was cancelled."""
        self.rows = max(1, min(self.rows, rows) // 2)
        self._grow_at = time.monotonic() + GROW_SECONDS

    def judge(self, error: Exception, rows: int, is_early: bool) -> Exception | None:
        """Record a failed statement for ``rows`` rows; return the error if it is an outage, else ``None``.

        It is not an outage if PostgreSQL cancelled the statement before our own deadline (``is_early``) and
        may finish a statement for fewer rows.
        """
        if not isinstance(error, Error) or kind_of(error) is not ErrorKind.CANCELLED:
            return error
        self.cancelled(rows)
        if rows > 1:
            return None if is_early else error
        return explained(error)

    def finished(self, rows: int) -> None:
        """Double the limit, at most every ten seconds, if a statement for ``rows`` rows used all of it."""
        if rows < self.rows or self.rows == self._at_most:
            return
        now = time.monotonic()
        if now >= self._grow_at:
            self.rows = min(2 * self.rows, self._at_most)
            self._grow_at = now + GROW_SECONDS
