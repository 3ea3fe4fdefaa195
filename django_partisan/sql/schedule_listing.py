"""Make the rows of schedules follow the schedules that are listed in the settings of live managers.

A manager's row lists names and fingerprints of the schedules in its settings, and when its process started.
Of several live managers that list a name, the one that started last decides. A manager can write only its own
definitions, so each one compares the rows with its own list. It locks a row of ``Chore`` for that, so that no
manager decides without having seen another one that has just registered.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.models.schedule import Schedule
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.manager_rows import IS_ALIVE

CHORE: Final = "schedules"
FROM_SETTINGS: Final = Schedule.ORIGIN_SETTINGS
RETURN_SECONDS: Final = 3600
"""A schedule that is listed again within this time continues; after it, the schedule restarts."""
REMOVE_DAYS: Final = 30

_LOCK: Final = f"""
    INSERT INTO django_partisan_chore AS chore (name, last_at) VALUES ('{CHORE}', now())
    ON CONFLICT (name) DO UPDATE SET last_at = EXCLUDED.last_at
"""

# A manager's own list counts for it even if its lease has expired.
_LISTED: Final = f"""
    SELECT DISTINCT ON (listed.key) listed.key AS name, listed.value AS fingerprint, manager.id
      FROM django_partisan_manager AS manager, jsonb_each_text(manager.schedules) AS listed
     WHERE manager.schedules IS NOT NULL AND ({IS_ALIVE} OR manager.id = %(manager)s)
     ORDER BY listed.key, manager.process_started_at DESC NULLS LAST, manager.id DESC
"""
_TO_WRITE: Final = f"""
    SELECT listed.name FROM ({_LISTED}) AS listed
      LEFT JOIN django_partisan_schedule AS schedule ON schedule.name = listed.name
     WHERE listed.id = %(manager)s
       AND (schedule.name IS NULL
            OR (schedule.origin = '{FROM_SETTINGS}'
                AND (schedule.fingerprint <> listed.fingerprint OR schedule.stopped_at IS NOT NULL)))
     ORDER BY listed.name
"""
# Rows that others lock are left for a later comparison, which avoids waiting for them.
_LOCK_UNLISTED: Final = f"""
    SELECT name, task FROM django_partisan_schedule AS schedule
     WHERE origin = '{FROM_SETTINGS}' AND stopped_at IS NULL
       AND NOT EXISTS (
            SELECT FROM django_partisan_manager AS manager
             WHERE jsonb_exists(manager.schedules, schedule.name)
               AND ({IS_ALIVE} OR manager.id = %(manager)s))
     ORDER BY name FOR UPDATE SKIP LOCKED
"""
_STOP: Final = "UPDATE django_partisan_schedule SET stopped_at = now() WHERE name = %s"
_LOCK_STOPPED: Final = f"""
    SELECT name, task FROM django_partisan_schedule
     WHERE origin = '{FROM_SETTINGS}' AND stopped_at < now() - interval '{REMOVE_DAYS} days'
     ORDER BY name FOR UPDATE SKIP LOCKED
"""
_REMOVE: Final = "DELETE FROM django_partisan_schedule WHERE name = %s"
_EXISTING: Final = "SELECT name FROM django_partisan_schedule WHERE name = ANY(%s::text[])"

_DEFINED: Final = (
    "name",
    "task",
    "cron",
    "every",
    "args",
    "kwargs",
    "queue_name",
    "priority",
    "time_zone",
    "catch_up",
    "overlap",
    "expires_seconds",
    "fingerprint",
)
_JSON: Final = ("args", "kwargs")
_WRITE: Final = f"""
    INSERT INTO django_partisan_schedule AS schedule ({", ".join(_DEFINED)}, origin, defined_at, next_at)
    VALUES ({", ".join(f"%({name})s::jsonb" if name in _JSON else f"%({name})s" for name in _DEFINED)},
            '{FROM_SETTINGS}', coalesce(%(now)s::timestamptz, now()), %(next_at)s)
    ON CONFLICT (name) DO UPDATE
       SET {", ".join(f"{name} = EXCLUDED.{name}" for name in _DEFINED[1:])},
           next_at = EXCLUDED.next_at, stopped_at = NULL, error = '', failures = 0, retry_at = NULL,
           defined_at = CASE WHEN %(is_new)s THEN EXCLUDED.defined_at ELSE schedule.defined_at END
     WHERE schedule.origin = '{FROM_SETTINGS}'
    RETURNING name
"""


def lock_listing(connection: BaseDatabaseWrapper) -> None:
    """Keep other managers from comparing the rows with their settings until the transaction ends."""
    execute(connection, _LOCK)


def names_to_write(connection: BaseDatabaseWrapper, manager: UUID) -> list[str]:
    """Return the schedules in a manager's list that it decides on and whose rows must be changed."""
    return [name for (name,) in fetch_all(connection, _TO_WRITE, {"manager": manager})]


def existing(connection: BaseDatabaseWrapper, names: Sequence[str]) -> set[str]:
    """Return the schedules among these that have rows, locked or not."""
    return {name for (name,) in fetch_all(connection, _EXISTING, (list(names),))}


def write_definition(
    connection: BaseDatabaseWrapper,
    name: str,
    columns: Mapping[str, Any],
    fingerprint: str,
    next_at: datetime | None,
    starts_at: datetime | None,
) -> bool:
    """Write the definition and the next tick of a schedule; return False if a hand-made row has its name.

    ``starts_at`` is the moment after which it restarts; ``None`` if it continues.
    """
    is_new = starts_at is not None
    values = {**columns, "name": name, "fingerprint": fingerprint, "next_at": next_at}
    values.update(now=starts_at, is_new=is_new)
    values.update({key: json.dumps(values[key]) for key in _JSON})
    return bool(fetch_all(connection, _WRITE, values))


def lock_unlisted(connection: BaseDatabaseWrapper, manager: UUID) -> list[tuple[str, str]]:
    """Lock the schedules to stop, which no live manager lists; return the name and the task of each."""
    return [(name, task) for name, task in fetch_all(connection, _LOCK_UNLISTED, {"manager": manager})]


def stop(connection: BaseDatabaseWrapper, name: str) -> None:
    """Mark a schedule as stopped, because no live manager lists it."""
    execute(connection, _STOP, (name,))


def lock_stopped(connection: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    """Lock the schedules stopped more than ``REMOVE_DAYS`` ago; return the name and the task of each."""
    return [(name, task) for name, task in fetch_all(connection, _LOCK_STOPPED)]


def remove(connection: BaseDatabaseWrapper, name: str) -> None:
    """Delete a schedule."""
    execute(connection, _REMOVE, (name,))
