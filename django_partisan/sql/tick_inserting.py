"""Insert the tasks of ticks, with the statements of ``bulk_enqueueing``."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.expiry import Expiry
from django_partisan.sql.bulk_enqueueing import PART_BYTES, insert_scheduled
from django_partisan.sql.enqueueing import NewTask


class NewTick(NamedTuple):
    """The task of a tick, which is due at once."""

    task: NewTask
    """The new task, without its expiry."""
    scheduled_for: datetime
    expires_at: datetime | None


def insert_ticks(
    connection: BaseDatabaseWrapper, ticks: Sequence[NewTick], part_bytes: int = PART_BYTES
) -> list[tuple[int, bool]]:
    """Insert the tasks of ticks in the caller's transaction; return the id of each and whether it is new.

    The order is that of ``ticks``. A tick that is a duplicate of a waiting task, or of an earlier tick, has
    the id of that task, which gets the later expiry.
    """
    if not ticks:
        return []
    places, distinct = _distinct(ticks)
    tasks = [_with_expiry(tick) for tick in distinct]
    rows = insert_scheduled(connection, tasks, [tick.scheduled_for for tick in distinct], part_bytes)
    results: list[tuple[int, bool]] = []
    for place in places:
        results.append(rows[place])
        rows[place] = (rows[place][0], False)  # the others with this key are its duplicates
    return results


def _with_expiry(tick: NewTick) -> NewTask:
    return tick.task if tick.expires_at is None else tick.task._replace(expiry=Expiry(at=tick.expires_at))


def _distinct(ticks: Sequence[NewTick]) -> tuple[list[int], list[NewTick]]:
    """Return the position of each tick's row, and the ticks to insert: the first one of each unique key."""
    places: list[int] = []
    distinct: list[NewTick] = []
    known: dict[UUID, int] = {}
    for tick in ticks:
        key, place = tick.task.unique_key, len(distinct)
        if key is not None:
            place = known.setdefault(key, place)
        if place == len(distinct):
            distinct.append(tick)
        else:
            first = distinct[place]
            distinct[place] = first._replace(expires_at=_later(first.expires_at, tick.expires_at))
        places.append(place)
    return places, distinct


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two moments at which tasks expire; ``None``, which is never, is the latest."""
    return None if one is None or other is None else max(one, other)
