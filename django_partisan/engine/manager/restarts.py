"""Decide when each slot of the pool gets its next worker: at once, or later if its workers die early."""

import time
from typing import Final

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.retry_pause import pause_after

PAUSE_SECONDS: Final = 0.2
PAUSE_AT_MOST_SECONDS: Final = 10.0


class Restarts:
    """The times of the next start in each slot; the pause after early deaths doubles, up to ten seconds."""

    def __init__(self, slots: int) -> None:
        self._at: dict[int, float] = dict.fromkeys(range(slots), 0.0)
        self._early_deaths: dict[int, int] = dict.fromkeys(range(slots), 0)

    def take_due(self, now: float) -> list[int]:
        """Return the slots that are due, and remove them from the schedule."""
        due = [slot for slot, at in self._at.items() if at <= now]
        for slot in due:
            del self._at[slot]
        return due

    def next_at(self) -> float:
        """Return the monotonic time of the next start."""
        return min(self._at.values(), default=NEVER)

    def restart_now(self, slot: int) -> None:
        """Refill a slot at once, because its worker did not die early."""
        self._early_deaths[slot] = 0
        self._at[slot] = 0.0

    def restart_later(self, slot: int) -> None:
        """Refill a slot after a pause: its worker could not start, or died early, before its first task."""
        self._early_deaths[slot] += 1
        pause = pause_after(self._early_deaths[slot], PAUSE_SECONDS, PAUSE_AT_MOST_SECONDS)
        self._at[slot] = time.monotonic() + pause
