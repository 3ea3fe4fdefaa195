"""Limit unsettled outcomes: beyond the limit no task is claimed, so an outage cannot exhaust memory."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from django_partisan.engine.manager.delayed_outcomes import Entry, written_characters
from django_partisan.sql.claiming import ARGUMENTS

OUTCOMES: Final = 20_000
CHARACTERS: Final = 64 * 2**20
"""Characters of arguments, errors and results, which take most of the memory if they are large."""
WEIGHED_EVERY_SECONDS: Final = 0.1


class UnsettledLimit:
    """The limits of unsettled outcomes: their number, and the characters that they hold."""

    def __init__(self, outcomes: int = OUTCOMES, characters: int = CHARACTERS) -> None:
        self._outcomes = outcomes
        self._characters = characters
        self._weighed_at = 0.0
        self._is_too_heavy = False

    def is_reached(self, outcomes: int, entries: Callable[[], Iterable[Entry]]) -> bool:
        """Return whether the unsettled outcomes are too many or too large.

        ``outcomes`` is their number, and ``entries`` returns them.
        """
        if not outcomes:
            return False
        now = time.monotonic()
        if now >= self._weighed_at + WEIGHED_EVERY_SECONDS:
            self._weighed_at = now
            self._is_too_heavy = sum(map(_characters, entries())) >= self._characters
        return self._is_too_heavy or outcomes >= self._outcomes


def _characters(entry: Entry) -> int:
    row, what = entry
    return len(row[ARGUMENTS]) + written_characters(what)
