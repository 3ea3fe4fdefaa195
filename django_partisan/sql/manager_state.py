"""Write and read the state that a manager publishes about its workers, in the column ``state`` of its row.

| key | value |
| --- | --- |
| ``v`` | the version of this format, 1 |
| ``runs`` | the longest runs under way, at most ``RUNS_AT_MOST``: objects with ``task``, |
| | ``processor``, ``pid``, ``worker`` (the slot) and ``seconds`` (so far) |
| ``totals`` | numbers of the manager, by name |
| ``draining`` | whether it claims no more tasks; ``holding`` writes it, too, when the manager stops |
| ``at`` | when the state was written, by the database's clock |
| ``processors`` | the processors that it can run; written and read by ``holding`` |
| ``role`` | only in the row of a worker without its manager |

Managers of earlier versions publish no state, or only ``processors``: any key may be missing.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.dateparse import parse_datetime

from django_partisan.names import WORKER_ROLE
from django_partisan.sql.connection import execute, fetch_all

VERSION: Final = 1
RUNS_AT_MOST: Final = 100
MANAGERS_AT_MOST: Final = 500
CHECKED_AT_MOST: Final = 5000

AT_NOW: Final = "jsonb_build_object('at', statement_timestamp())"
MERGED: Final = f"coalesce(state, '{{}}') || %(state)s::jsonb || {AT_NOW}"
"""The new value of ``state``; keys that other statements wrote are kept."""

_PUBLISH: Final = f"UPDATE django_partisan_manager SET state = {MERGED} WHERE id = %(manager)s"

_ROWS: Final = f"""
    SELECT id, queue_name, host, pid, version, sleeping,
           extract(epoch FROM statement_timestamp() - started_at)::float8,
           extract(epoch FROM statement_timestamp() - heartbeat_at)::float8,
           lease_seconds, CASE WHEN jsonb_typeof(state) = 'object' THEN (state - 'processors')::text END,
           extract(epoch FROM statement_timestamp())::float8
      FROM django_partisan_manager
     WHERE (%(queue)s::text IS NULL OR queue_name = %(queue)s)
       AND (%(manager)s::uuid IS NULL OR id = %(manager)s)
     ORDER BY queue_name, host, pid, id LIMIT {MANAGERS_AT_MOST}
"""

_RUN_START: Final = """
    SELECT (state ->> 'at')::timestamptz - (run ->> 'seconds')::float8 * interval '1 second' AS started_at
      FROM django_partisan_manager CROSS JOIN jsonb_array_elements(
           CASE WHEN jsonb_typeof(state -> 'runs') = 'array' THEN state -> 'runs' END) AS run
     WHERE id = %s AND run -> 'task' = to_jsonb(%s::bigint)
"""

_HELD: Final = """
    SELECT id, claimed_by FROM django_partisan_task WHERE id = ANY(%s::bigint[]) AND status = 'in_process'
"""


class Run(NamedTuple):
    """A run under way, and its duration so far; ``worker`` is the worker's slot, if it has one."""

    task: int
    processor: str
    pid: int
    worker: int | None
    seconds: float


class PublishedManager(NamedTuple):
    """A manager, or a worker without its manager, as its row shows it."""

    id: UUID
    queue: str
    host: str
    pid: int
    version: str | None
    """``None`` for a version that did not store its version."""
    is_sleeping: bool
    started_seconds: float
    """Seconds since it registered."""
    heartbeat_seconds: float
    """Seconds since its last heartbeat."""
    is_alive: bool
    """Whether its lease has not expired."""
    is_worker: bool
    """True for a worker that finishes a run without its manager."""
    is_draining: bool
    publishes_runs: bool
    """False for a manager of an earlier version, which does not publish its runs."""
    runs: tuple[Run, ...]
    """The runs under way, longest first."""
    totals: Mapping[str, int]
    publishes_all_runs: bool = True
    """False if there may be more runs than it published."""


def manager_state(runs: Iterable[Run], totals: Mapping[str, int], is_draining: bool) -> str:
    """Return the state of a manager as JSON text, with the ``RUNS_AT_MOST`` longest runs."""
    longest = sorted(runs, key=lambda run: -run.seconds)[:RUNS_AT_MOST]
    return json.dumps(
        {"v": VERSION, "runs": _described(longest), "totals": dict(totals), "draining": is_draining}
    )


def worker_state(run: Run | None = None) -> str:
    """Return the state of a worker without its manager, as JSON text."""
    runs = {} if run is None else {"v": VERSION, "runs": _described([run])}
    return json.dumps({"role": WORKER_ROLE, **runs})


def publish(connection: BaseDatabaseWrapper, manager: UUID, state: str) -> None:
    """Write the state of a manager into its row, between two heartbeats."""
    execute(connection, _PUBLISH, {"manager": manager, "state": state})


def published_managers(connection: BaseDatabaseWrapper, queue: str | None = None) -> list[PublishedManager]:
    """Return the managers of a queue or, with ``None``, of all, up to ``MANAGERS_AT_MOST``.

    A run that has ended since it was published is left out.
    """
    return _read(connection, queue=queue)


def published_manager(connection: BaseDatabaseWrapper, manager: UUID) -> PublishedManager | None:
    """Return one manager; ``None`` if it has no row."""
    return next(iter(_read(connection, manager=manager)), None)


def run_start(
    connection: BaseDatabaseWrapper, manager: UUID, task_id: int, claimed_at: datetime
) -> datetime | None:
    """Return when the run of a task started; ``None`` if its manager has not published it since the claim."""
    starts = [row[0] for row in fetch_all(connection, _RUN_START, (manager, task_id))]
    return next((start for start in starts if start is not None and start >= claimed_at), None)


def _read(
    connection: BaseDatabaseWrapper, queue: str | None = None, manager: UUID | None = None
) -> list[PublishedManager]:
    found = [_published(row) for row in fetch_all(connection, _ROWS, {"queue": queue, "manager": manager})]
    ids = [run.task for one in found for run in one.runs][:CHECKED_AT_MOST]
    held = dict(fetch_all(connection, _HELD, (ids,))) if ids else {}
    return [
        one._replace(runs=tuple(run for run in one.runs if held.get(run.task) == one.id)) for one in found
    ]


def _described(runs: Iterable[Run]) -> list[dict[str, Any]]:
    return [{**run._asdict(), "seconds": round(run.seconds, 3)} for run in runs]


def _published(row: tuple[Any, ...]) -> PublishedManager:
    manager, queue, host, pid, version, is_sleeping, started, heartbeat, lease_seconds, text, now = row
    state: dict[str, Any] = {} if text is None else json.loads(text)
    return PublishedManager(
        id=manager,
        queue=queue,
        host=host,
        pid=pid,
        version=version,
        is_sleeping=is_sleeping,
        started_seconds=max(0.0, started),
        heartbeat_seconds=max(0.0, heartbeat),
        is_alive=heartbeat <= lease_seconds,
        is_worker=state.get("role") == WORKER_ROLE,
        is_draining=bool(state.get("draining")),
        publishes_runs="runs" in state,
        runs=_runs(state, now),
        totals=_numbers(state.get("totals")),
        publishes_all_runs=len(state.get("runs", ())) < RUNS_AT_MOST,
    )


def _runs(state: Mapping[str, Any], now: float) -> tuple[Run, ...]:
    """Return the runs with their durations at ``now``, a Unix timestamp; they were written earlier."""
    written_at = parse_datetime(str(state.get("at", "")))
    since = 0.0 if written_at is None else max(0.0, now - written_at.timestamp())
    runs = [
        Run(
            one["task"],
            str(one.get("processor", "")),
            int(one.get("pid", 0)),
            one.get("worker"),
            one.get("seconds", 0.0) + since,
        )
        for one in state.get("runs", ())
    ]
    return tuple(sorted(runs, key=lambda run: -run.seconds))


def _numbers(totals: Any) -> dict[str, int]:
    if not isinstance(totals, dict):
        return {}
    return {name: value for name, value in totals.items() if isinstance(value, int)}
