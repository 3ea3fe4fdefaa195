"""Statistics of the schedules: of the first by alphabet each, of the others together."""

from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.schedules.book import TICK_OUTCOMES
from django_partisan.sql.connection import fetch_all

NAMED_AT_MOST: Final = 200
"""How many schedules have statistics of their own."""

# One read of the table, so that the next tick and the totals fit together. The others have the worst of their
# values; how late they are counts while they are not paused.
_STATISTICS: Final = f"""
    SELECT CASE WHEN place <= %(named)s THEN name END,
           extract(epoch FROM min(next_at) FILTER (WHERE is_on))::float8,
           extract(epoch FROM min(last_at))::float8,
           extract(epoch FROM min(last_completed_at))::float8,
           greatest(extract(epoch FROM now() - min(next_at) FILTER (WHERE is_on)), 0)::float8,
           greatest(extract(epoch FROM now() - min((open_tick ->> 'at')::timestamptz)), 0)::float8,
           bool_or(last_failed),
           {", ".join(f"sum(coalesce((totals ->> '{name}')::bigint, 0))::bigint" for name in TICK_OUTCOMES)}
      FROM (SELECT *, NOT paused AND stopped_at IS NULL AS is_on,
                   row_number() OVER (ORDER BY name COLLATE "C") AS place
              FROM django_partisan_schedule) AS schedule
     GROUP BY 1 ORDER BY min(place)
"""


class ScheduleStatistics(NamedTuple):
    """Moments are Unix timestamps, durations seconds; ``None`` where there is no such moment."""

    name: str | None
    """``None`` for all that have no statistics of their own."""
    next_at: float | None
    last_at: float | None
    last_completed_at: float | None
    lateness: float
    """For how long a tick has been due."""
    open_seconds: float
    """Since when the oldest tick is open."""
    has_failed: bool
    """Whether its last task that ended failed."""
    totals: tuple[int, ...]
    """Numbers of ticks in the order of ``TICK_OUTCOMES``."""


def schedule_statistics(
    connection: BaseDatabaseWrapper, named: int = NAMED_AT_MOST
) -> tuple[ScheduleStatistics, ...]:
    """Return the statistics of the schedules; only ``named`` of them have their own."""
    rows = fetch_all(connection, _STATISTICS, {"named": named})
    return tuple(ScheduleStatistics._make((*row[:7], row[7:])) for row in rows)
