"""Read statistics of schedules: individual ones for the first in the alphabet, and one for all others."""

from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.schedules.tick_record import TICK_OUTCOMES
from django_partisan.sql.connection import fetch_all

NAMED_AT_MOST: Final = 200
"""How many schedules have statistics of their own."""

OVERDUE_SECONDS: Final = 300
"""A tick is overdue if its task has not ended this many seconds after the next tick is due; see the alert."""

# The table is read once, so that the next tick and the totals are consistent. The row for all others has the
# worst of their values: the first tick that is due, and the oldest open one of those that are overdue. For
# these, the time from the newest last tick to the first next one is never longer than their own, so the alert
# holds for them. That row has no totals, because they would fall when a schedule gets statistics of its own.
# SQL may have written anything into the rows: infinite moments, of which no difference can be computed, and
# JSON that managers do not write. Such values count as missing, and a next tick before 1970 as one of 1970.
_FINITE: Final = "CASE WHEN isfinite({0}) THEN {0} END AS {0}"
_DAY: Final = r"((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
_LEAP_YEAR: Final = r"(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_TIME: Final = r"([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{1,6})?"
_ISO_8601: Final = rf"^(?!0000)(\d{{4}}-{_DAY}|{_LEAP_YEAR}-02-29)T{_TIME}\+00:00$"
_TOTAL: Final = "sum(coalesce(substring(totals ->> '{}' FROM '^\\d{{1,14}}$')::bigint, 0))::bigint"
_STATISTICS: Final = f"""
    SELECT CASE WHEN place <= %(named)s THEN name END,
           extract(epoch FROM min(next_at) FILTER (WHERE is_on))::float8,
           extract(epoch FROM max(last_at))::float8,
           extract(epoch FROM min(last_completed_at))::float8,
           greatest(extract(epoch FROM now() - min(next_at) FILTER (WHERE is_on)), 0)::float8,
           greatest(extract(epoch FROM now() - min(open_at) FILTER (
               WHERE stopped_at IS NULL
                 AND (place <= %(named)s
                      OR is_on AND now() - open_at > next_at - last_at + interval '{OVERDUE_SECONDS} s')
               )), 0)::float8,
           coalesce(bool_or(last_failed) FILTER (WHERE is_on), false),
           bool_or(place <= %(named)s),
           {", ".join(_TOTAL.format(name) for name in TICK_OUTCOMES)}
      FROM (SELECT name, stopped_at, last_failed, totals, NOT paused AND stopped_at IS NULL AS is_on,
                   CASE WHEN next_at < 'infinity' THEN greatest(next_at, 'epoch') END AS next_at,
                   {_FINITE.format("last_at")}, {_FINITE.format("last_completed_at")},
                   CASE WHEN open_tick ->> 'at' ~ '{_ISO_8601}' THEN (open_tick ->> 'at')::timestamptz END
                       AS open_at,
                   row_number() OVER (ORDER BY name COLLATE "C") AS place
              FROM django_partisan_schedule) AS schedule
     GROUP BY 1 ORDER BY min(place)
"""


class ScheduleStatistics(NamedTuple):
    """Moments are Unix timestamps, durations are in seconds; ``None`` if there is no such moment."""

    name: str | None
    """``None`` for all schedules without statistics of their own."""
    next_at: float | None
    last_at: float | None
    last_completed_at: float | None
    lateness: float
    """How long a tick has been due."""
    open_seconds: float
    """How long the oldest tick has been open; without a name, the oldest of those that are overdue."""
    has_failed: bool
    """Whether the last of its tasks to end failed; False if it is paused or stopped."""
    totals: tuple[int, ...] | None
    """Numbers of ticks in the order of ``TICK_OUTCOMES``; ``None`` without a name."""


def schedule_statistics(
    connection: BaseDatabaseWrapper, named: int = NAMED_AT_MOST
) -> tuple[ScheduleStatistics, ...]:
    """Return the statistics of the schedules; only ``named`` of them have their own."""
    rows = fetch_all(connection, _STATISTICS, {"named": named})
    return tuple(ScheduleStatistics._make((*row[:7], row[8:] if row[7] else None)) for row in rows)
