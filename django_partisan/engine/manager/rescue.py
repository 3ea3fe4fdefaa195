"""Rescue the tasks of dead managers, as part of a heartbeat's database call.

| attribute | written by |
| --- | --- |
| `_awaited`, `_limit` | the loop |
| `_is_tried` | the database thread during a call; the loop reads and resets it after changing `_awaited` |

A call that the loop has given up may continue later. It then rescues nothing, because nobody would receive
the tasks.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.other_managers import OtherManagers
from django_partisan.sql import leasing, rescuing
from django_partisan.sql.leasing import HeartbeatResult
from django_partisan.sql.rescuing import RescuedTask

RESCUED_AT_MOST: Final = 5000


class Rescued(NamedTuple):
    """The result of a rescue."""

    tasks: Sequence[RescuedTask] = ()
    are_missing: bool = False
    """Whether a manager holds tasks whose lease may have expired only because of an outage."""
    is_more_left: bool = False
    """Whether the limit of one statement was reached; the next heartbeat rescues the other tasks."""


class Rescue:
    """The rescue of a queue's tasks, in statements small enough not to be cancelled by a timeout."""

    def __init__(self, queue: str, others: OtherManagers) -> None:
        self._queue = queue
        self._others = others
        self._limit = BatchLimit(RESCUED_AT_MOST)
        self._awaited: int | None = None
        self._is_tried = False

    def begin(self, token: int) -> None:
        """Record that a heartbeat that claims rescued tasks under ``token`` is being sent."""
        self._awaited = token
        self._is_tried = False  # a call that was given up may have set it since

    def make(
        self, connection: BaseDatabaseWrapper, manager: UUID, token: int, found: HeartbeatResult
    ) -> Rescued:
        """Rescue tasks of the dead managers that a heartbeat found; runs in the database thread."""
        limit = self._limit.rows
        with ExitStack() as files:
            dead = self._others.find_dead(found.others, files)
            tasks: Sequence[RescuedTask] = ()
            if dead.proven or dead.expired or found.has_abandoned:
                self._is_tried = True
                if self._awaited == token:
                    tasks = rescuing.rescue(connection, self._queue, manager, token, dead, limit)
                self._others.keep_files_of(leasing.registered(connection, dead.proven))
        return Rescued(tasks, self._others.are_missing(found.others, dead), len(tasks) >= limit)

    def end(self, error: Exception | None = None) -> bool:
        """Record that the heartbeat has ended; return whether it tried to rescue anything."""
        self._awaited = None
        is_tried, self._is_tried = self._is_tried, False
        if is_tried and error is None:
            self._limit.finished(self._limit.rows)
        return is_tried

    def judge(self, error: Exception) -> Exception:
        """Record that an attempted rescue has failed; return the error to report."""
        return self._limit.judge(error, self._limit.rows, is_early=True) or error
