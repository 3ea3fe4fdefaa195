"""Notify managers of operators' requests, with a NOTIFY that only names the table to look at.

The tables are authoritative. A lost notification costs only latency, because managers also look at the tables
with each heartbeat.
"""

import json
from typing import Final, Literal, NamedTuple, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute
from django_partisan.sql.schema import SCHEMA_OF_TASKS

CONTROL_CHANNEL: Final = "django_partisan_control"
VERSION: Final = 1
EVERY_QUEUE: Final = ""
"""Used instead of a queue's name to notify managers of all queues; those of earlier versions ignore it."""

Look: TypeAlias = Literal["cancel", "pause", "schedule"]

_NOTIFY = f"""
    SELECT pg_notify('{CONTROL_CHANNEL}', json_build_object(
        'v', {VERSION}, 'schema', ({SCHEMA_OF_TASKS}), 'queue', %s::text, 'look', %s::text)::text)
"""


class Control(NamedTuple):
    """A notification: the schema and the queue that it concerns, and what to look at."""

    schema: str
    """The schema of the tables, quoted for SQL."""
    queue: str
    look: str


def notify_control(connection: BaseDatabaseWrapper, queue: str, look: Look) -> None:
    """Notify the managers of ``queue`` to look at a table, when the transaction of ``connection`` commits."""
    execute(connection, _NOTIFY, (queue, look))


def decoded(payload: str) -> Control | None:
    """Decode a payload; return ``None`` if it is not understood, for example one of a later version."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("v") != VERSION:
        return None
    fields = [field for name in Control._fields if isinstance(field := message.get(name), str)]
    return Control(*fields) if len(fields) == len(Control._fields) else None
