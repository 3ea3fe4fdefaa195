"""Insert a task, and notify managers that sleep; ``bulk_enqueueing`` inserts many tasks."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.expiry import Expiry
from django_partisan.models import Task
from django_partisan.moments import LATEST
from django_partisan.sql.columns import fields_with_column
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.tokens import NO_CLAIM

# The channel of NOTIFY; the payload is the queue's name.
CHANNEL: Final = "django_partisan"

# The columns from ``history`` on are empty in a new row. They are not fetched: every call would pay for that.
_FIELDS: Final = [field.attname for field in fields_with_column(Task)]
_FETCHED: Final = _FIELDS[: _FIELDS.index("history")]
_EMPTY: Final = [0 if name == "takeovers" else None for name in _FIELDS[len(_FETCHED) :]]
_EXPIRES_AT: Final = _FIELDS.index("expires_at")
_JSON: Final = [_FETCHED.index(name) for name in ("arguments", "extra", "context")]


class NewTask(NamedTuple):
    """The values of a new task that the caller chooses; the database sets the others."""

    queue: str
    processor: str
    priority: int
    execute_after: datetime | None
    arguments: str
    context: str | None
    unique_key: UUID | None
    expiry: Expiry | None = None


# The time of the statement, not of the transaction: a task waits from the time of the call.
NOW = "statement_timestamp()"

INSERT = """
    INSERT INTO django_partisan_task (status, extra, created_at, updated_at, queue_name, processor_class,
                                      priority, execute_after, ready, arguments, context, unique_key{more})
"""

# ``seconds`` count from the time when the task is due, or from now if that is in the past.
EXPIRES_AT = f"""
    coalesce({{at}}::timestamptz,
             CASE WHEN {{seconds}}::float8 IS NOT NULL
                  THEN least(greatest({NOW}, {{after}}::timestamptz)
                             + {{seconds}}::float8 * interval '1 second', '{LATEST.isoformat()}') END)
"""

# DO UPDATE locks the duplicate, so no claim takes it before the data that it should see is committed. The
# token NO_CLAIM marks the row until its next claim: if PostgreSQL forgot an earlier claim in a crash, that
# claim is not restored (see ``forgotten``), because its run started before this call and may not have seen
# the data. The later of the two expiries is kept; no expiry is the latest.
OR_LOCK_DUPLICATE = f"""
    ON CONFLICT (unique_key) WHERE status = 'new' AND unique_key IS NOT NULL
    DO UPDATE SET unique_key = EXCLUDED.unique_key, claim_token = {NO_CLAIM},
                  expires_at = CASE WHEN EXCLUDED.expires_at IS NOT NULL
                                     AND django_partisan_task.expires_at IS NOT NULL
                                    THEN greatest(EXCLUDED.expires_at, django_partisan_task.expires_at) END
"""

# A NOTIFY on every insert would make commits wait for each other: it is sent only if a manager sleeps.
_SLEEPING = "SELECT FROM django_partisan_manager WHERE queue_name = %s AND sleeping"
_WAKE = f"SELECT pg_notify('{CHANNEL}', %s) WHERE EXISTS ({_SLEEPING})"

_INSERT_ONE = f"""
    {INSERT}
    VALUES ('new', '{{{{}}}}', {NOW}, {NOW}, %s, %s, %s,
            coalesce(%s::timestamptz, {NOW}), coalesce(%s::timestamptz <= {NOW}, true),
            %s::jsonb, %s::jsonb, %s::uuid{{value}})
    {{or_lock_duplicate}}
    RETURNING xmax = 0, {", ".join(_FETCHED)}{{more}},
              CASE WHEN EXISTS ({_SLEEPING}) THEN pg_notify('{CHANNEL}', %s) END
"""
# By whether the task has a unique key, and whether it has an expiry.
_INSERTS: Final = {
    (has_key, has_expiry): _INSERT_ONE.format(
        or_lock_duplicate=OR_LOCK_DUPLICATE if has_key else "",
        more=", expires_at" if has_expiry else "",
        value=f", {EXPIRES_AT.format(at='%s', after='%s', seconds='%s')}" if has_expiry else "",
    )
    for has_key in (False, True)
    for has_expiry in (False, True)
}


def insert_task(connection: BaseDatabaseWrapper, new: NewTask) -> tuple[Task, bool]:
    """Insert one task, or lock its waiting duplicate; return the row and whether it is new."""
    queue, processor, priority, after, arguments, context, key, expiry = new
    parameters = (queue, processor, priority, after, after, arguments, context, key)
    names, sql = _FETCHED, _INSERTS[key is not None, expiry is not None]
    if expiry is not None:
        names = [*_FETCHED, "expires_at"]
        parameters += (expiry.at, expiry.seconds, after, expiry.seconds)  # type: ignore[assignment]
    inserted, *values, _notified = fetch_all(connection, sql, (*parameters, queue, queue))[0]
    for place in _JSON:
        if values[place] is not None:
            values[place] = json.loads(values[place])
    if inserted:  # Django loads the other columns of a duplicate when they are read
        last = values[len(_FETCHED) :]
        values[len(_FETCHED) :] = _EMPTY
        if last:
            [values[_EXPIRES_AT]] = last
    task = Task.from_db(connection.alias, names, values)
    task.is_duplicate = not inserted
    return task, inserted


def wake(connection: BaseDatabaseWrapper, queues: Iterable[str]) -> None:
    """Notify the sleeping managers of ``queues``; executes one query for each queue."""
    for queue in queues:
        execute(connection, _WAKE, (queue, queue))
