"""Pause and resume queues: no task of a paused queue starts on any host.

The commands ``partisan_pause`` and ``partisan_resume`` and the admin call this module.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from django_partisan import moments
from django_partisan.config.queues import check_queue_name
from django_partisan.sql import pausing
from django_partisan.sql.connection import task_connection
from django_partisan.sql.control import notify_control
from django_partisan.sql.pausing import PausedQueue

__all__ = ["PausedQueue", "pause", "paused_queues", "resume"]


def pause(
    queue_name: str, *, until: datetime | timedelta | None = None, comment: str = "", by: str = ""
) -> PausedQueue:
    """Pause a queue when the current transaction commits; running tasks finish.

    ``until`` is the end of the pause: a moment, or a duration from now by the database's clock. Without it,
    the queue is paused until ``resume()``. If the queue is already paused, ``until``, ``comment`` and ``by``
    are replaced. Raises ``UnknownQueue``, and ``ValueError`` if ``until`` is in the past or has no time zone.
    """
    check_queue_name(queue_name)
    moment, seconds = _end(until)
    connection = task_connection()
    with transaction.atomic(using=connection.alias):
        paused = pausing.pause(connection, queue_name, moment, seconds, comment, by)
        notify_control(connection, queue_name, "pause")
    return paused


def resume(queue_name: str) -> bool:
    """End the pause of a queue when the current transaction commits; return whether it was paused.

    Raises ``UnknownQueue`` if the settings do not define the queue and it was never paused.
    """
    connection = task_connection()
    with transaction.atomic(using=connection.alias):
        was_paused = pausing.resume(connection, queue_name)
        if was_paused:
            notify_control(connection, queue_name, "pause")
    if was_paused is None:
        check_queue_name(queue_name)
    return bool(was_paused)


def paused_queues() -> list[PausedQueue]:
    """Return the queues that are paused now, by name."""
    return pausing.paused(task_connection())


def _end(until: datetime | timedelta | None) -> tuple[datetime | None, float | None]:
    """Return the end of a pause as a moment or as seconds from now."""
    if until is None:
        return None, None
    if isinstance(until, timedelta):
        seconds = min(until.total_seconds(), moments.LONGEST_DELAY_SECONDS)
        if seconds <= 0:
            raise ValueError(f"until is {until!r}; expected a duration above 0.")
        return None, seconds
    if timezone.is_naive(until):
        if settings.USE_TZ:
            raise ValueError(
                f"until is {until!r}, which has no time zone; use django.utils.timezone.make_aware()."
            )
        until = timezone.make_aware(until)
    until = moments.storable(until)
    if until.timestamp() <= timezone.now().timestamp():
        raise ValueError(f"until is {until.isoformat()}, which is in the past.")
    return until, None
