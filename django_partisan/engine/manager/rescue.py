"""Take over what dead managers held, in the call of a heartbeat.

| | written by |
| --- | --- |
| `_awaited`, `_limit` | the loop |
| `_is_tried` | the database's thread during a call, which the loop reads after it has cleared `_awaited` |

A call that the loop has given up may go on later. It rescues nothing then: nobody would get the tasks.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.neighbours import Neighbours
from django_partisan.sql import leasing, rescuing
from django_partisan.sql.leasing import HeartbeatResult
from django_partisan.sql.rescuing import RescuedTask

RESCUED_AT_MOST: Final = 5000


class Rescued(NamedTuple):
    """What a heartbeat has rescued."""

    tasks: Sequence[RescuedTask] = ()
    are_missing: bool = False
    """Managers hold tasks that may have lost their lease by an outage alone."""
    is_more_left: bool = False
    """As many tasks were rescued as one statement may take; the next heartbeat rescues the others."""


class Rescue:
    """Rescue tasks of a queue, no more at once than PostgreSQL finishes in its time."""

    def __init__(self, queue: str, neighbours: Neighbours) -> None:
        self._queue = queue
        self._neighbours = neighbours
        self._limit = BatchLimit(RESCUED_AT_MOST)
        self._awaited: int | None = None
        self._is_tried = False

    def begin(self, token: int) -> None:
        """Note that a heartbeat is sent which rescues under ``token``."""
        self._awaited = token
        self._is_tried = False  # a call that was given up may have tried since

    def make(
        self, connection: BaseDatabaseWrapper, manager: UUID, token: int, found: HeartbeatResult
    ) -> Rescued:
        """Rescue what a heartbeat has found, in the database's thread."""
        limit = self._limit.rows
        with ExitStack() as files:
            dead = self._neighbours.find_dead(found.others, files)
            tasks: Sequence[RescuedTask] = ()
            if dead.proven or dead.expired or found.has_abandoned:
                self._is_tried = True
                if self._awaited == token:
                    tasks = rescuing.rescue(connection, self._queue, manager, token, dead, limit)
                self._neighbours.keep_files_of(leasing.registered(connection, dead.proven))
        return Rescued(tasks, self._neighbours.are_missing(found.others, dead), len(tasks) >= limit)

    def end(self, error: Exception | None = None) -> bool:
        """Note that the heartbeat has ended; return whether it tried to rescue anything."""
        self._awaited = None
        is_tried, self._is_tried = self._is_tried, False
        if is_tried and error is None:
            self._limit.finished(self._limit.rows)
        return is_tried

    def judge(self, error: Exception) -> Exception:
        """Note that the rescue, which was tried, has failed; return the error that is to be told."""
        return self._limit.judge(error, self._limit.rows, is_early=True) or error
