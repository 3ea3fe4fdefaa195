"""The report as JSON. Names and meanings stay the same within a major version; keys may be added."""

import json
from datetime import datetime
from typing import Any

from django.utils.timezone import get_default_timezone, is_naive, make_aware

from django_partisan.management.status.report import QueueStatus, StatusReport
from django_partisan.sql.manager_state import PublishedManager


def as_json(report: StatusReport) -> str:
    """Return the report as one JSON object."""
    document = {
        "version": report.version,
        "at": _moment(report.at),
        "database": report.database,
        "queues": [_queue(queue) for queue in report.queues],
        "managers": [_manager(manager) for manager in report.managers],
        "failing": [
            {
                "queue": queue.name,
                "processor": kind.processor,
                "reason": kind.reason,
                "error_type": kind.error_type,
                "tasks": kind.number,
                "last_seconds": kind.last_seconds,
            }
            for queue in report.queues
            for kind in queue.kinds
        ],
        "errors": [
            {"queue": queue.name, **error._asdict(), "failed_at": _moment(error.failed_at)}
            for queue in report.queues
            for error in queue.errors
        ],
    }
    return json.dumps(document, indent=2)  # in ASCII: texts may contain control characters


def _moment(value: datetime) -> str:
    """Return a moment with its time zone, which the database leaves out if ``USE_TZ`` is ``False``."""
    return (make_aware(value, get_default_timezone()) if is_naive(value) else value).isoformat()


def _queue(queue: QueueStatus) -> dict[str, Any]:
    found, pause = queue.statistics, queue.pause
    until = None if pause is None or pause.until is None else _moment(pause.until)
    return {
        "queue": queue.name,
        "due": found.due,
        "scheduled": found.scheduled,
        "in_process": found.in_process,
        "running": queue.running,
        "failed": found.error,
        "held": queue.held,
        "oldest_due_seconds": found.oldest_due_age,
        "managers": found.managers_alive,
        "paused": None if pause is None else {"until": until, "comment": pause.comment, "by": pause.by},
        "held_kinds": [
            {"processor": held.processor, "reason": held.reason, "tasks": held.number} for held in found.held
        ],
    }


def _manager(manager: PublishedManager) -> dict[str, Any]:
    return {
        "id": str(manager.id),
        "queue": manager.queue,
        "role": "worker" if manager.is_worker else "manager",
        "host": manager.host,
        "pid": manager.pid,
        "version": manager.version,
        "alive": manager.is_alive,
        "draining": manager.is_draining,
        "sleeping": manager.is_sleeping,
        "started_seconds": manager.started_seconds,
        "heartbeat_seconds": manager.heartbeat_seconds,
        "totals": dict(manager.totals),
        "runs": [run._asdict() for run in manager.runs] if manager.publishes_runs else None,
    }
