# ruff: noqa: DJ008 - no page shows most of these rows
"""The managers, what operators ask of them, and what they share with each other.

The tables have no foreign keys to tasks. Tasks are deleted at a high rate, and each deletion would
look into every table that refers to them. A row that names a deleted task has no effect.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH, QUEUE_NAME_MAX_LENGTH, WORKER_ROLE


class ManagerLease(models.Model):
    """One manager, or a worker without its manager: who it is, and until when it is considered alive."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    queue_name = models.CharField(max_length=QUEUE_NAME_MAX_LENGTH)
    host = models.TextField()
    pid = models.IntegerField()
    lock_name = models.UUIDField(
        help_text=_("The file that this manager and its workers hold locked on their host.")
    )
    lease_seconds = models.FloatField()
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    sleeping = models.BooleanField(db_default=False, help_text=_("Asks to be notified of new tasks."))
    state = models.JSONField(null=True, help_text=_("The tasks that it runs, and its totals."))
    version = models.TextField(null=True)  # noqa: DJ001 - null: of an earlier version
    process_started_at = models.DateTimeField(null=True)
    schedules = models.JSONField(
        null=True, help_text=_("Names and fingerprints of the schedules in its settings.")
    )

    class Meta:
        required_db_vendor = "postgresql"
        db_table = "django_partisan_manager"
        verbose_name = _("manager")
        verbose_name_plural = _("managers")

    def __str__(self) -> str:
        role = ", a worker without its manager" if self.is_worker else ""
        return f"{self.queue_name} at {self.host}:{self.pid}{role}"

    @property
    def is_worker(self) -> bool:
        """True for a worker that finishes a run without its manager."""
        return isinstance(self.state, dict) and self.state.get("role") == WORKER_ROLE


class CancelRequest(models.Model):
    """An operator's request that a running task ends."""

    task_id = models.BigIntegerField(primary_key=True)
    comment = models.TextField(db_default="")
    requested_at = models.DateTimeField(db_default=Now())

    class Meta:
        required_db_vendor = "postgresql"
        db_table = "django_partisan_cancel_request"


class Pause(models.Model):
    """A queue, or one processor of it, of which no task starts."""

    queue_name = models.CharField(max_length=QUEUE_NAME_MAX_LENGTH)
    processor_class = models.CharField(
        max_length=PROCESSOR_NAME_MAX_LENGTH, db_default="", help_text=_("Empty for the whole queue.")
    )
    until = models.DateTimeField(null=True, help_text=_("Empty until somebody resumes it."))
    comment = models.TextField(db_default="")
    by = models.TextField(db_default="", help_text=_("Who paused it."))
    paused_at = models.DateTimeField(null=True, db_default=Now())

    class Meta:
        required_db_vendor = "postgresql"
        constraints = (
            models.UniqueConstraint(fields=["queue_name", "processor_class"], name="partisan_pause_once"),
        )


class Schedule(models.Model):
    """A task that managers enqueue at given times."""

    ORIGIN_SETTINGS = "settings"
    ORIGIN_DATABASE = "database"

    name = models.CharField(primary_key=True, max_length=PROCESSOR_NAME_MAX_LENGTH)
    definition = models.JSONField(
        db_default=models.Value({}, models.JSONField()),
        default=dict,
        editable=False,
        help_text=_("Unused; removed in version 3.0, as processes of version 2.0 may still name it."),
    )
    task = models.CharField(
        max_length=PROCESSOR_NAME_MAX_LENGTH,
        db_default="",
        help_text=_("The registered name of a processor, or the path of a task function."),
    )
    cron = models.TextField(null=True, blank=True, help_text=_("Five fields, or a name such as @daily."))  # noqa: DJ001 - null: every is given
    every = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("Seconds; ticks are multiples of it, counted from 1970 in UTC.")
    )
    args = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    kwargs = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    queue_name = models.CharField(max_length=QUEUE_NAME_MAX_LENGTH, null=True, blank=True)  # noqa: DJ001 - null: that of the task
    priority = models.IntegerField(null=True, blank=True)
    time_zone = models.TextField(null=True, blank=True, help_text=_("Of cron; TIME_ZONE by default."))  # noqa: DJ001 - null: every is given
    catch_up = models.TextField(db_default="one", default="one")
    overlap = models.BooleanField(db_default=True, default=True)
    expires_seconds = models.FloatField(null=True, blank=True)

    origin = models.TextField(
        db_default=ORIGIN_DATABASE,
        default=ORIGIN_DATABASE,
        help_text=_("Whether settings or a person defined it."),
    )
    fingerprint = models.TextField(db_default="", help_text=_("Changes with the definition."))
    defined_at = models.DateTimeField(db_default=Now())
    next_at = models.DateTimeField(null=True)
    paused = models.BooleanField(db_default=False)
    comment = models.TextField(db_default="")
    stopped_at = models.DateTimeField(
        null=True, help_text=_("When the last live manager that lists it in its settings was seen no more.")
    )

    error = models.TextField(db_default="", help_text=_("Why the last tick could not be enqueued."))
    failures = models.IntegerField(db_default=0, help_text=_("How often it was tried since."))
    retry_at = models.DateTimeField(null=True)

    recent_ticks = models.JSONField(db_default=models.Value([], models.JSONField()))
    totals = models.JSONField(db_default=models.Value({}, models.JSONField()))
    last_at = models.DateTimeField(null=True, help_text=_("The moment of the last tick."))
    lateness_seconds = models.FloatField(null=True, help_text=_("How late the last tick was enqueued."))
    open_tick = models.JSONField(null=True, help_text=_("The oldest tick whose task has not ended."))
    last_task_id = models.BigIntegerField(null=True, help_text=_("The task that was enqueued last."))
    last_completed_at = models.DateTimeField(null=True)
    last_failed = models.BooleanField(db_default=False)

    class Meta:
        required_db_vendor = "postgresql"
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        permissions = (
            ("run_schedule", "Can run schedules now"),
            ("pause_schedule", "Can pause and resume schedules"),
        )

    def __str__(self) -> str:
        return self.name

    def save(
        self,
        *,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Write the definition and the pause, and find the next tick; managers own the other columns.

        A new schedule, or one whose ``cron``, ``every`` or ``time_zone`` changes, starts at the first tick
        after now, by the server's clock. Raises ``ValidationError`` if the definition is not accepted, or if
        more than the pause changes of a schedule that comes from the settings.
        """
        from django_partisan.schedule_rows import saving

        with saving(self, using, None if force_insert else update_fields, bool(force_insert)) as fields:
            super().save(
                force_insert=force_insert, force_update=force_update, using=using, update_fields=fields
            )

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the row; one that live managers have in their settings comes back, and starts anew."""
        from django_partisan.schedule_rows import deleting

        with deleting(self, using) as alias:
            return super().delete(using=alias, keep_parents=keep_parents)

    def clean(self) -> None:
        """Raise ``ValidationError`` by field if the definition is not accepted."""
        from django_partisan.schedule_rows import ensure_valid

        super().clean()
        if self.origin != self.ORIGIN_SETTINGS:
            ensure_valid(self)

    def run_now(self) -> int | None:
        """Enqueue its task now and return the id; see ``django_partisan.scheduling.run_now``."""
        from django_partisan import scheduling

        return scheduling.run_now(self.name)

    def pause(self, comment: str = "") -> None:
        """Enqueue nothing until it is resumed; see ``django_partisan.scheduling.pause``."""
        from django_partisan import scheduling

        scheduling.pause(self.name, comment)
        self.refresh_from_db(fields=["paused", "comment"])

    def resume(self) -> None:
        """Go on with the first tick from now; see ``django_partisan.scheduling.resume``."""
        from django_partisan import scheduling

        scheduling.resume(self.name)
        self.refresh_from_db(fields=["paused", "next_at"])

    def upcoming(self, count: int = 5, after: datetime | None = None) -> list[datetime]:
        """Return the next ticks after a moment, by default after now, by the server's clock.

        It follows from the definition alone: a paused schedule has such ticks, too.
        """
        from django_partisan.schedule_rows import upcoming

        return upcoming(self, count, after)


class Chore(models.Model):
    """Periodic work that one manager does for all, such as pruning."""

    name = models.CharField(primary_key=True, max_length=PROCESSOR_NAME_MAX_LENGTH)
    last_at = models.DateTimeField(null=True)
    cursor = models.JSONField(null=True, help_text=_("Where the next pass continues."))

    class Meta:
        required_db_vendor = "postgresql"


class Slot(models.Model):
    """One of the tasks of a concurrency key that may run at the same time."""

    pk = models.CompositePrimaryKey("key", "number")
    key = models.UUIDField()
    number = models.IntegerField()
    task_id = models.BigIntegerField(null=True, help_text=_("Empty while the slot is free."))
    token = models.BigIntegerField(null=True, help_text=_("The claim under which its task runs."))
    next_at = models.DateTimeField(null=True, help_text=_("When the slot may be used again."))

    class Meta:
        required_db_vendor = "postgresql"
