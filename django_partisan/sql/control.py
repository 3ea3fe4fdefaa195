"""Notify managers of what operators ask for: a NOTIFY that only says where to look.

The tables are the authority: a notification that is lost costs latency, because managers also look with each
heartbeat.
"""

import json
from typing import Final, Literal, NamedTuple, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute
from django_partisan.sql.schema import SCHEMA_OF_TASKS

CONTROL_CHANNEL: Final = "django_partisan_control"
VERSION: Final = 1
EVERY_QUEUE: Final = ""
"""In the place of a queue: managers of all queues look. Those of earlier versions ignore it."""

Look: TypeAlias = Literal["cancel", "pause", "schedule"]

_NOTIFY = f"""
    SELECT pg_notify('{CONTROL_CHANNEL}', json_build_object(
        'v', {VERSION}, 'schema', ({SCHEMA_OF_TASKS}), 'queue', %s::text, 'look', %s::text)::text)
"""


class Control(NamedTuple):
    """Where to look: in which schema, for which queue, and at what."""

    schema: str
    """Quoted for SQL."""
    queue: str
    look: str


def notify_control(connection: BaseDatabaseWrapper, queue: str, look: Look) -> None:
    """Have the managers of ``queue`` look at a table, when the transaction of ``connection`` commits."""
    execute(connection, _NOTIFY, (queue, look))


def decoded(payload: str) -> Control | None:
    """Return what a payload says; ``None`` if it is not understood, as one of a later version."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("v") != VERSION:
        return None
    fields = [field for name in Control._fields if isinstance(field := message.get(name), str)]
    return Control(*fields) if len(fields) == len(Control._fields) else None
