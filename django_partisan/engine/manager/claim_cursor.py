"""Decide where the next claim starts: behind the last claimed row, or at the start of the queue.

A claim from the start reads the index entries of all rows that were claimed since the last vacuum. Only such
a claim finds newly due tasks that precede the last claimed row: urgent ones and retries.
"""

from typing import Final

from django_partisan.sql.claiming import ID, PRIORITY, TaskRow

FROM_START_SECONDS: Final = 1.0
"""In a backlog, claims begin at the start of the queue again after at least this many seconds."""
FROM_START_SHARE: Final = 0.1
"""The share of the time that these claims may take in addition to what other claims take.

They take long while another session keeps a transaction open, because no vacuum may remove the entries.
"""
FROM_START_SECONDS_MAX: Final = 60.0


class ClaimCursor:
    """The start position of the next claim, so that it skips the index entries of rows just claimed."""

    def __init__(self) -> None:
        self._behind: tuple[int, int] | None = None
        self._from_start_at = 0.0
        self._claim_seconds = 0.0
        self._extra_seconds = 0.0
        self._pause_seconds = FROM_START_SECONDS

    def start(self, now: float) -> tuple[int, int] | None:
        """Return priority and id of the row to start after; ``None`` means the start of the queue."""
        if now - self._from_start_at > self._pause_seconds:
            self._behind = None
        if self._behind is None:
            self._from_start_at = now
        return self._behind

    def claimed(self, seconds: float, is_from_start: bool) -> None:
        """Start at the start of the queue less often if two claims from there took longer than others.

        One slow claim proves nothing: it may have waited for a lock or for the CPU.
        """
        if not is_from_start:
            self._claim_seconds = seconds
            return
        extra = seconds - self._claim_seconds
        pause = max(FROM_START_SECONDS, min(extra, self._extra_seconds) / FROM_START_SHARE)
        self._pause_seconds = min(pause, FROM_START_SECONDS_MAX)
        self._extra_seconds = extra

    def move_behind(self, row: TaskRow) -> None:
        """Start the next claim after ``row``."""
        self._behind = (row[PRIORITY], row[ID])

    def reset(self) -> None:
        """Start the next claim at the start of the queue, where retries and urgent tasks may be."""
        self._behind = None
