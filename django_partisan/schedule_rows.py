"""Save and delete rows of schedules: validate them, find their next tick, and notify managers.

Managers update ``next_at`` and the counts of ticks in rows that other code has loaded before. So ``save()``
writes only what people own, which is the definition and the pause, and leaves the other columns alone.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from datetime import datetime
from typing import Final

from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import DatabaseDefault
from django.utils.timezone import is_aware, make_aware, make_naive
from django.utils.translation import gettext as _

from django_partisan import moments, registry, scheduling
from django_partisan.config.problems import SCHEDULE_BY_HAND, WRONG_SCHEDULE, Problem
from django_partisan.config.schedule_keys import KEYS, NAME
from django_partisan.enqueueing import after_commit
from django_partisan.models import Schedule
from django_partisan.outcomes import SCHEDULE_ADDED, SCHEDULE_CHANGED
from django_partisan.schedules.configured import SETTING
from django_partisan.schedules.definition import ScheduleDefinition, values_of_row
from django_partisan.schedules.validation import Fault, faults
from django_partisan.sql.connection import task_connection, task_database
from django_partisan.sql.server_time import server_now
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.schedules import ScheduleChanged

EDITABLE: Final = frozenset({*KEYS, "origin", "paused", "comment"})


def ensure_valid(row: Schedule) -> None:
    """Raise ``ValidationError``, with messages by field, if the definition of a row is not accepted."""
    messages: dict[str, list[str]] = {}
    for fault in _faults(row):
        place = f"{fault.key or 'the definition'} of the schedule {row.name!r}"
        messages.setdefault(fault.key or NON_FIELD_ERRORS, []).append(str(fault.problem(place)))
    if messages:
        raise ValidationError(messages)


def upcoming(row: Schedule, count: int, after: datetime | None) -> list[datetime]:
    """Return the next ticks of a row after a moment, aware or naive according to ``USE_TZ``."""
    found = ScheduleDefinition.of_row(row).upcoming(count, moment_or_now(after))
    return found if settings.USE_TZ else [make_naive(moment) for moment in found]


def moment_or_now(moment: datetime | None) -> datetime:
    """Return a moment in UTC; for ``None``, the current time of the database server."""
    if moment is None:
        return server_now(task_connection())
    return moments.storable(moment if is_aware(moment) else make_aware(moment))


def problems_of_names() -> Iterator[Problem]:
    """Yield a problem for each schedule of the settings that is unused because a row has its name."""
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping) or not given:
        return
    by_hand = Schedule.objects.using(task_database()).exclude(origin=Schedule.ORIGIN_SETTINGS)
    try:
        taken = [*by_hand.filter(name__in=[str(name) for name in given]).values_list("name", flat=True)]
    except Error:  # before the first ``migrate`` there is no table
        return
    for name in taken:
        yield Problem(SCHEDULE_BY_HAND, f"A key of {SETTING}", name, "a name that no row made by hand uses")


@contextmanager
def saving(
    row: Schedule, using: str | None, update_fields: Iterable[str] | None, is_new: bool
) -> Iterator[list[str] | None]:
    """Prepare a row for a ``with`` block that writes it; yield the fields to write, ``None`` for all.

    The stored row is locked during the block, so that no manager changes its next tick.
    """
    alias = using or router.db_for_write(type(row), instance=row)
    named = None if update_fields is None else {*update_fields}
    if (named is None or "task" in named) and row.origin != Schedule.ORIGIN_SETTINGS:
        _import_task(row)
    with transaction.atomic(using=alias):
        connection = connections[alias]
        rows = Schedule.objects.using(alias).select_for_update()
        stored = None if is_new else rows.filter(pk=row.pk).first()
        if stored is None:
            _prepare_new(row, server_now(connection))
            yield None
            _emit_changed(connection, row, SCHEDULE_ADDED)
        else:
            chosen = _writable_columns(row, named)
            fields = _prepare_change(row, stored, chosen, server_now(connection))
            yield fields
            _pause_or_resume(row, stored, chosen, alias)
            if "fingerprint" in fields:
                _emit_changed(connection, row, SCHEDULE_CHANGED)
        scheduling.notify_managers(connection)


def _import_task(row: Schedule) -> None:
    """Import the module of a row's task before the row is locked, because an import may take long."""
    if isinstance(row.task, str):
        with suppress(Exception):  # the validation reports the problem
            registry.find_or_import(row.task)


def _emit_changed(connection: BaseDatabaseWrapper, row: Schedule, change: str) -> None:
    event = (row.name, row.task, row.origin, change, row.next_at)
    after_commit(connection, lambda: bus.emit(ScheduleChanged, *event))


@contextmanager
def deleting(row: Schedule, using: str | None) -> Iterator[str]:
    """Yield the alias of a database for a ``with`` block that deletes a row there; then notify managers."""
    alias = using or router.db_for_write(type(row), instance=row)
    with transaction.atomic(using=alias):
        yield alias
        scheduling.notify_managers(connections[alias])


def _faults(row: Schedule) -> Iterator[Fault]:
    if not NAME.accepts(row.name):
        yield Fault(WRONG_SCHEDULE, "name", row.name, NAME.expected)
    yield from faults(values_of_row(row))


def _prepare_new(row: Schedule, now: datetime) -> None:
    if row.origin != Schedule.ORIGIN_DATABASE:
        raise ValidationError({"origin": _("Only managers can add schedules of the settings.")})
    ensure_valid(row)
    definition = ScheduleDefinition.of_row(row)
    _copy_definition(row, definition)
    row.defined_at, row.next_at = now, definition.times.after(now)


def _writable_columns(row: Schedule, named: Collection[str] | None) -> set[str]:
    """Return the columns of the row that may be written, without those that were never set."""
    wanted = EDITABLE if named is None else EDITABLE.intersection(named)
    return {name for name in wanted if not isinstance(getattr(row, name), DatabaseDefault)}


def _prepare_change(row: Schedule, stored: Schedule, chosen: Collection[str], now: datetime) -> list[str]:
    """Set the columns of the row that follow from the change, and return the fields to write."""
    wanted = copy(stored)
    for name in chosen:
        setattr(wanted, name, getattr(row, name))
    fields = [name for name in ("comment",) if name in chosen]
    if values_of_row(wanted) == values_of_row(stored) and wanted.origin == stored.origin:
        return fields
    if Schedule.ORIGIN_SETTINGS in (stored.origin, wanted.origin):
        raise ValidationError(
            _("The schedule %(name)r comes from PARTISAN_SCHEDULES; change it there. Here it can be paused.")
            % {"name": row.name}
        )
    ensure_valid(wanted)
    definition = ScheduleDefinition.of_row(wanted)
    _copy_definition(row, definition)
    row.error, row.failures, row.retry_at = "", 0, None
    fields += [*KEYS, "fingerprint", "error", "failures", "retry_at"]
    if not definition.has_same_ticks(stored):
        row.defined_at, row.next_at = now, definition.times.after(now)
        fields += ["defined_at", "next_at"]
    return fields


def _copy_definition(row: Schedule, definition: ScheduleDefinition) -> None:
    """Copy the columns of a definition to a row, with the defaults from the settings of this process."""
    for name, value in definition.as_columns().items():
        setattr(row, name, value)
    row.fingerprint = definition.fingerprint


def _pause_or_resume(row: Schedule, stored: Schedule, chosen: Collection[str], alias: str) -> None:
    if "paused" not in chosen or row.paused == stored.paused:
        return
    if row.paused:
        scheduling.pause(row.name, row.comment if "comment" in chosen else stored.comment)
    else:
        scheduling.resume(row.name)
    row.refresh_from_db(using=alias, fields=["paused", "comment", "next_at"])
