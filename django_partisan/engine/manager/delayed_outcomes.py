"""Keep outcomes that could not be written with the others, and choose which to try next, and when."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple, TypeAlias, cast

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.outcome_writing import Kind, WriteResult
from django_partisan.engine.settling import halves
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.row_changes import Crash, Item, RowChange, StoppedRun

PAUSE_SECONDS: Final = 0.25
PAUSE_AT_MOST_SECONDS: Final = 3.0

Kept: TypeAlias = tuple[int, str, str | None]
"""Start of a completed run in monotonic microseconds, its worker, and its return value as JSON text."""
What: TypeAlias = RowChange | Crash | Kept | StoppedRun | None
Entry: TypeAlias = tuple[TaskRow, What]
"""A task and the data to write to its row; ``None`` if the kind alone determines the data."""


CHARACTERS_AT_MOST: Final = 16 * 2**20
"""Maximum number of characters per statement: of results, errors, history entries and contexts."""


def fitting(kind: Kind, entries: Sequence[Entry], rows: int) -> int:
    """Return how many of the first ``rows`` entries fit into one statement: at least one, if any."""
    rows = min(rows, len(entries))
    if kind not in (Kind.KEPT, Kind.CHANGED):
        return rows
    left = CHARACTERS_AT_MOST
    for number in range(rows):
        left -= written_characters(entries[number][1])
        if left < 0 and number:
            return number
    return rows


def written_characters(what: What) -> int:
    """Return the number of characters to write to a row, as ``CHARACTERS_AT_MOST`` counts them."""
    if isinstance(what, RowChange):
        texts = (what.result, what.error_message, what.error_traceback, what.entry, what.context)
        return sum(map(len, filter(None, texts)))
    return 0 if what is None or isinstance(what, Crash | StoppedRun) else len(what[-1] or "")


class Part(NamedTuple):
    """Outcomes of one kind that are written together."""

    kind: Kind
    entries: list[Entry]
    again: bool = False
    """True if the answer to an earlier try was lost: some outcomes may be written already."""
    is_retry: bool = False
    """True if these outcomes were delayed before, and are tried apart from the others."""

    def items(self) -> Sequence[Item]:
        """Return the items to write, in the form that statements of this kind take."""
        if self.kind is Kind.RELEASED:
            return [cast(StoppedRun, what) or (row[ID], row[TOKEN]) for row, what in self.entries]
        if self.entries and self.entries[0][1] is None:
            return [(row[ID], row[TOKEN]) for row, _ in self.entries]
        if self.kind is Kind.KEPT:
            return [(row[ID], row[TOKEN], *cast(Kept, run)) for row, run in self.entries]
        return cast(list[Item], [what for _, what in self.entries])

    def only(self, ids: list[int]) -> list[Entry]:
        """Return the entries of the tasks with these ids."""
        wanted = set(ids)
        return [entry for entry in self.entries if entry[0][ID] in wanted]

    def without(self, ids: list[int]) -> list[Entry]:
        """Return the entries of all tasks except those with these ids."""
        unwanted = set(ids)
        return [entry for entry in self.entries if entry[0][ID] not in unwanted] if ids else self.entries


class DelayedOutcomes:
    """Outcomes that were delayed: some are tried again at once, in halves; others later.

    Those that wait for locks of other transactions, or took too long alone, are tried later. The pause before
    the next try doubles, up to three seconds, until nothing is left.
    """

    def __init__(self) -> None:
        self._parts: deque[Part] = deque()
        self._later: dict[tuple[Kind, bool], list[Entry]] = {}
        self._pause = PAUSE_SECONDS
        self._retry_at = NEVER
        self.since = NEVER
        """Monotonic time since which some outcome has waited for a later try."""

    def __len__(self) -> int:
        if not self._parts and not self._later:
            return 0
        return sum(len(part.entries) for part in self._parts) + sum(map(len, self._later.values()))

    def next_at(self) -> float:
        """Return the monotonic time of the next try."""
        return 0.0 if self._parts else self._retry_at

    def add(self, part: Part, written: WriteResult) -> None:
        """Keep the outcomes that a try did not write; reset the pause if nothing is left."""
        for entries in halves(part.only(written.delayed)):
            self._parts.append(Part(part.kind, entries, part.again, is_retry=True))
        if written.later:
            now = time.monotonic()
            self._later.setdefault((part.kind, part.again), []).extend(part.only(written.later))
            self._retry_at = min(self._retry_at, now + self._pause)
            self.since = min(self.since, now)
        elif not self._parts and not self._later:
            self._pause, self.since = PAUSE_SECONDS, NEVER

    def take(self, now: float, at_most: int) -> Part | None:
        """Remove and return up to ``at_most`` outcomes to try at ``now``, if there are any."""
        if now >= self._retry_at:
            self._parts.extend(
                Part(kind, entries, again, is_retry=True) for (kind, again), entries in self._later.items()
            )
            self._later.clear()
            self._retry_at = NEVER
            self._pause = min(2 * self._pause, PAUSE_AT_MOST_SECONDS)
        if not self._parts:
            return None
        part = self._parts.popleft()
        number = fitting(part.kind, part.entries, at_most)
        if len(part.entries) > number:
            self._parts.appendleft(part._replace(entries=part.entries[number:]))
        return part._replace(entries=part.entries[:number])

    def __iter__(self) -> Iterator[Entry]:
        yield from chain(*(part.entries for part in self._parts), *self._later.values())
