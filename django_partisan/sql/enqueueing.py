"""Insert a task, and wake a manager that sleeps; ``bulk_enqueueing`` inserts many tasks."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.expiry import Expiry
from django_partisan.models import Task
from django_partisan.moments import LATEST
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.tokens import NO_CLAIM

# The channel of NOTIFY; the payload is the queue's name.
CHANNEL: Final = "django_partisan"

# The columns from ``history`` on are empty in a new row: they are not fetched, which every call would pay.
_FIELDS: Final = [field.attname for field in Task._meta.concrete_fields]
_FETCHED: Final = _FIELDS[: _FIELDS.index("history")]
_EMPTY: Final = [0 if name == "takeovers" else None for name in _FIELDS[len(_FETCHED) :]]
_EXPIRES_AT: Final = _FIELDS.index("expires_at")
_JSON: Final = [_FETCHED.index(name) for name in ("arguments", "extra", "context")]


class NewTask(NamedTuple):
    """What a caller decides about a task; the rest is the database's."""

    queue: str
    processor: str
    priority: int
    execute_after: datetime | None
    arguments: str
    context: str | None
    unique_key: UUID | None
    expiry: Expiry | None = None


# The statement's own time, not the transaction's: a task waits from when it was asked for.
NOW = "statement_timestamp()"

INSERT = """
    INSERT INTO django_partisan_task (status, extra, created_at, updated_at, queue_name, processor_class,
                                      priority, execute_after, ready, arguments, context, unique_key{more})
"""

# Seconds count from when the task is due, or from now if that is in the past.
EXPIRES_AT = f"""
    coalesce({{at}}::timestamptz,
             CASE WHEN {{seconds}}::float8 IS NOT NULL
                  THEN least(greatest({NOW}, {{after}}::timestamptz)
                             + {{seconds}}::float8 * interval '1 second', '{LATEST.isoformat()}') END)
"""

# DO UPDATE locks the duplicate, so no claim takes it before the data that it should see is committed. The
# token is that of no claim. Until the next claim it shows that a run which began before is not the one that
# the caller relies on, should PostgreSQL have forgotten the claim of that run (see ``forgotten``). The later
# expiry counts, and no expiry is the latest.
OR_LOCK_DUPLICATE = f"""
    ON CONFLICT (unique_key) WHERE status = 'new' AND unique_key IS NOT NULL
    DO UPDATE SET unique_key = EXCLUDED.unique_key, claim_token = {NO_CLAIM},
                  expires_at = CASE WHEN EXCLUDED.expires_at IS NOT NULL
                                     AND django_partisan_task.expires_at IS NOT NULL
                                    THEN greatest(EXCLUDED.expires_at, django_partisan_task.expires_at) END
"""

# A NOTIFY on every insert would make commits wait for each other; a manager says when it needs one.
_SLEEPING = "SELECT FROM django_partisan_manager WHERE queue_name = %s AND sleeping"
_WAKE = f"SELECT pg_notify('{CHANNEL}', %s) WHERE EXISTS ({_SLEEPING})"

_INSERT_ONE = f"""
    WITH enqueued AS (
        {INSERT}
        VALUES ('new', '{{{{}}}}', {NOW}, {NOW}, %s, %s, %s,
                coalesce(%s::timestamptz, {NOW}), coalesce(%s::timestamptz <= {NOW}, true),
                %s::jsonb, %s::jsonb, %s::uuid{{value}})
        {OR_LOCK_DUPLICATE}
        RETURNING xmax = 0, {", ".join(_FETCHED)}{{more}}
    )
    SELECT *, CASE WHEN EXISTS ({_SLEEPING}) THEN pg_notify('{CHANNEL}', %s) END FROM enqueued
"""
_WITHOUT_EXPIRY: Final = _INSERT_ONE.format(more="", value="")
_WITH_EXPIRY: Final = _INSERT_ONE.format(
    more=", expires_at", value=f", {EXPIRES_AT.format(at='%s', after='%s', seconds='%s')}"
)


def insert_task(connection: BaseDatabaseWrapper, new: NewTask) -> tuple[Task, bool]:
    """Insert one task, or lock its waiting duplicate; return the row and whether it is new."""
    queue, processor, priority, after, arguments, context, key, expiry = new
    parameters = (queue, processor, priority, after, after, arguments, context, key)
    names, sql = _FETCHED, _WITHOUT_EXPIRY
    if expiry is not None:
        names, sql = [*_FETCHED, "expires_at"], _WITH_EXPIRY
        parameters += (expiry.at, expiry.seconds, after, expiry.seconds)  # type: ignore[assignment]
    inserted, *values, _notified = fetch_all(connection, sql, (*parameters, queue, queue))[0]
    for place in _JSON:
        if values[place] is not None:
            values[place] = json.loads(values[place])
    if inserted:  # the other columns of a duplicate are loaded by Django when they are read
        last = values[len(_FETCHED) :]
        values[len(_FETCHED) :] = _EMPTY
        if last:
            [values[_EXPIRES_AT]] = last
    task = Task.from_db(connection.alias, names, values)
    task.is_duplicate = not inserted
    return task, inserted


def wake(connection: BaseDatabaseWrapper, queues: Iterable[str]) -> None:
    """Notify the managers of ``queues`` that sleep; costs a query for each queue."""
    for queue in queues:
        execute(connection, _WAKE, (queue, queue))
