"""The record of ticks in the row of a schedule: the latest ticks, totals, and the oldest open tick.

| column | value |
| --- | --- |
| ``recent_ticks`` | the last 20, oldest first: objects with ``at`` (ISO 8601), ``outcome``, ``task`` (an id |
| | or ``null``), and ``ended`` once the task has ended: ``completed``, ``failed`` or another reason |
| ``totals`` | numbers of ticks since the row was created, by outcome |
| ``open_tick`` | the oldest tick whose task is not known to have ended: ``at`` and ``task`` |
"""

import reprlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from math import isfinite
from typing import Any, Final, NamedTuple

from django_partisan.outcomes import COMPLETED, FAILED, REASONS_TO_NAME

ENQUEUED: Final = "enqueued"
DUPLICATE: Final = "duplicate"
OVERLAP: Final = "overlap"
MISSED: Final = "missed"
TICK_OUTCOMES: Final = (ENQUEUED, DUPLICATE, OVERLAP, MISSED)

KEPT_TICKS: Final = 20
LARGEST_NUMBER: Final = 2**62


class MalformedRow(ValueError):
    """A column of a schedule's row that only managers write has a value that they never write."""


class Tick(NamedTuple):
    """A tick and its outcome; ``task`` is the id of the enqueued task, or of its duplicate."""

    at: datetime
    outcome: str
    task: int | None = None


class TaskState(NamedTuple):
    """The state of a task whose row exists; ``finished_at`` is a Unix timestamp."""

    status: str
    reason: str | None
    finished_at: float | None


class EndedTicks(NamedTuple):
    """The record of a schedule's ticks after a look-up of their tasks."""

    recent_ticks: list[dict[str, Any]]
    open_tick: dict[str, Any] | None
    completed_at: float | None
    """The latest completion among the tasks that were found to have ended, as a Unix timestamp."""
    failed: bool | None
    """Whether the newest of these tasks failed; ``None`` if none has ended since the last look-up."""


def ensure_sound(row: Any) -> None:
    """Raise ``MalformedRow`` if a row has values that managers never write, because SQL changed them."""
    if not _are_ticks(row.recent_ticks):
        raise _malformed("recent_ticks", row.recent_ticks, "ticks as managers write them", "[]")
    if not _is_open_tick(row.open_tick):
        raise _malformed("open_tick", row.open_tick, "a tick as managers write it", "NULL")
    if not isinstance(row.totals, dict) or not all(
        _is_number(row.totals.get(one, 0)) for one in TICK_OUTCOMES
    ):
        raise _malformed("totals", row.totals, "an object with integers", "{}")
    if row.lateness_seconds is not None and not isfinite(row.lateness_seconds):
        raise _malformed("lateness_seconds", row.lateness_seconds, "a finite number", "NULL")


def is_sound(recent: Any, open_tick: Any) -> bool:
    """Return whether ``recent_ticks`` and ``open_tick`` are as managers write them."""
    return _are_ticks(recent) and _is_open_tick(open_tick)


def _are_ticks(recent: Any) -> bool:
    return isinstance(recent, list) and all(map(_is_tick, recent))


def _is_open_tick(value: Any) -> bool:
    return value is None or (_is_tick(value) and value["task"] is not None)


def _malformed(column: str, value: Any, expected: str, remedy: str) -> MalformedRow:
    shown = reprlib.repr(value)  # short, even if the value is long or deeply nested
    return MalformedRow(
        f"{column} has an unexpected value: {shown}; expected {expected}. Set it to {remedy}."
    )


def _is_tick(one: Any) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("at"), str) or "task" not in one:
        return False
    is_plain = all(isinstance(value, str) for key, value in one.items() if key != "task")
    return is_plain and (one["task"] is None or _is_number(one["task"]))


def _is_number(value: Any) -> bool:
    """Return whether a value fits into a ``bigint``, and can still be increased."""
    return type(value) is int and abs(value) < LARGEST_NUMBER


def with_ticks(recent: Sequence[Mapping[str, Any]], ticks: Sequence[Tick]) -> list[dict[str, Any]]:
    """Return ``recent_ticks`` with further ticks, limited to the last ``KEPT_TICKS``."""
    added = [{"at": iso_text(tick.at), "task": tick.task, "outcome": tick.outcome} for tick in ticks]
    return [*map(dict, recent), *added][-KEPT_TICKS:]


def with_totals(totals: Mapping[str, int], numbers: Mapping[str, int]) -> dict[str, int]:
    """Return ``totals`` increased by ``numbers``, the numbers of further ticks by outcome."""
    return {name: totals.get(name, 0) + numbers.get(name, 0) for name in TICK_OUTCOMES}


def with_open_tick(open_tick: Mapping[str, Any] | None, ticks: Sequence[Tick]) -> dict[str, Any] | None:
    """Return ``open_tick``; if there is none, the first of the further ticks that has a task."""
    if open_tick is not None:
        return dict(open_tick)
    return next(
        ({"at": iso_text(tick.at), "task": tick.task} for tick in ticks if tick.task is not None), None
    )


def ended(
    recent: Sequence[Mapping[str, Any]],
    open_tick: Mapping[str, Any],
    states: Mapping[int, TaskState],
    now: float,
) -> EndedTicks:
    """Return the record of a schedule's ticks, updated by the states of their tasks.

    ``states`` contains the tasks whose rows exist; a task without a row has completed. ``now`` is the Unix
    timestamp of the look-up.
    """
    ticks = [dict(one) for one in recent]
    known = {one["task"] for one in ticks}
    asked = ticks if open_tick["task"] in known else [dict(open_tick), *ticks]
    completed_at, failed, still_open = None, None, None
    for one in asked:
        if one["task"] is None or "ended" in one:
            continue
        state = states.get(one["task"])
        end = _end_of(state)
        if end is None:
            still_open = still_open or {"at": one["at"], "task": one["task"]}
            continue
        one["ended"], failed = end, end == FAILED
        if end == COMPLETED:
            at = now if state is None or state.finished_at is None else state.finished_at
            completed_at = at if completed_at is None else max(at, completed_at)
    return EndedTicks(ticks, still_open, completed_at, failed)


def _end_of(state: TaskState | None) -> str | None:
    """Return how a task has ended; ``None`` if it is waiting or running."""
    if state is None or state.status == "finished":
        return COMPLETED
    if state.status != "error":
        return None
    return state.reason if state.reason in REASONS_TO_NAME else FAILED


def moment_of(tick: Mapping[str, Any]) -> datetime | None:
    """Return the time of a tick in a row; ``None`` if SQL changed the row, so that it has no valid one."""
    try:
        return datetime.fromisoformat(tick["at"])
    except (KeyError, TypeError, ValueError):
        return None


def iso_text(moment: datetime) -> str:
    """Return a moment as ISO 8601 text, in UTC."""
    return moment.astimezone(timezone.utc).isoformat()
