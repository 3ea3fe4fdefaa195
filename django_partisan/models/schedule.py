"""The model of schedules: which task is enqueued at which times, and the record of the latest ticks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import models, router
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from django_partisan.models.json_column import JSONColumn
from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH, QUEUE_NAME_MAX_LENGTH


class Schedule(models.Model):
    """A task that managers enqueue at given times."""

    ORIGIN_SETTINGS = "settings"
    ORIGIN_DATABASE = "database"
    STATE_ACTIVE = "active"
    STATE_PAUSED = "paused"
    STATE_STOPPED = "stopped"

    name = models.CharField(primary_key=True, max_length=PROCESSOR_NAME_MAX_LENGTH)
    definition = JSONColumn(
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
    args = JSONColumn(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    kwargs = JSONColumn(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    queue_name = models.CharField(max_length=QUEUE_NAME_MAX_LENGTH, null=True, blank=True)  # noqa: DJ001 - null: that of the task
    priority = models.IntegerField(null=True, blank=True)
    time_zone = models.TextField(  # noqa: DJ001 - null: every is given
        null=True, blank=True, help_text=_("The time zone of cron; TIME_ZONE by default.")
    )
    catch_up = models.TextField(db_default="one", default="one")
    overlap = models.BooleanField(db_default=True, default=True)
    expires_seconds = models.FloatField(null=True, blank=True)

    origin = models.TextField(
        db_default=ORIGIN_DATABASE,
        default=ORIGIN_DATABASE,
        help_text=_("Where it is defined: in the settings or in the database."),
    )
    fingerprint = models.TextField(db_default="", help_text=_("Changes with the definition."))
    defined_at = models.DateTimeField(db_default=Now())
    next_at = models.DateTimeField(null=True)
    paused = models.BooleanField(db_default=False)
    comment = models.TextField(db_default="")
    stopped_at = models.DateTimeField(
        null=True, help_text=_("Since when no live manager has it in its settings.")
    )

    error = models.TextField(db_default="", help_text=_("Why the last tick could not be enqueued."))
    failures = models.IntegerField(db_default=0, help_text=_("Failed attempts since then."))
    retry_at = models.DateTimeField(null=True)

    recent_ticks = JSONColumn(db_default=models.Value([], models.JSONField()))
    totals = JSONColumn(db_default=models.Value({}, models.JSONField()))
    last_at = models.DateTimeField(null=True, help_text=_("The moment of the last tick."))
    lateness_seconds = models.FloatField(null=True, help_text=_("How late the last tick was enqueued."))
    open_tick = JSONColumn(null=True, help_text=_("The oldest tick whose task has not ended."))
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
        """Save the definition and the pause, and compute the next tick; managers own the other columns.

        A new schedule, or one whose ``cron``, ``every`` or ``time_zone`` changes, starts at the first tick
        after now, by the server's clock. Raises ``ValidationError`` if the definition is invalid, or if
        anything but the pause of a schedule from the settings changes.
        """
        from django_partisan.schedule_rows import saving

        with saving(self, using, None if force_insert else update_fields, bool(force_insert)) as fields:
            super().save(
                force_insert=force_insert, force_update=force_update, using=using, update_fields=fields
            )

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the row.

        A schedule in the settings of a live manager is created again, and starts at its next tick.
        """
        from django_partisan.schedule_rows import deleting

        with deleting(self, using) as alias:
            return super().delete(using=alias, keep_parents=keep_parents)

    def clean(self) -> None:
        """Validate the definition; raises ``ValidationError`` with the messages by field."""
        from django_partisan.schedule_rows import ensure_valid

        super().clean()
        if self.origin != self.ORIGIN_SETTINGS:
            ensure_valid(self)

    @property
    def state(self) -> str:
        """``active``, ``paused``, or ``stopped`` if no live manager has it in its settings any more."""
        if self.stopped_at is not None:
            return self.STATE_STOPPED
        return self.STATE_PAUSED if self.paused else self.STATE_ACTIVE

    @property
    def kept_ticks(self) -> Sequence[Mapping[str, Any]]:
        """The entries of ``recent_ticks``, oldest first.

        Entries that are not JSON objects are skipped. The keys are ``at``, ``outcome``, ``task`` and, once
        the task has ended, ``ended``.
        """
        recent = self.recent_ticks if isinstance(self.recent_ticks, list) else []
        return [tick for tick in recent if isinstance(tick, dict)]

    @property
    def last_tick(self) -> Mapping[str, Any]:
        """The last entry of ``kept_ticks``; empty if there is none."""
        return next(reversed(self.kept_ticks), {})

    def run_now(self) -> int | None:
        """Enqueue the schedule's task now and return its id; see ``django_partisan.scheduling.run_now``."""
        from django_partisan import scheduling

        return scheduling.run_now(self.name)

    def pause(self, comment: str = "") -> None:
        """Pause: enqueue no task until the schedule is resumed; see ``django_partisan.scheduling.pause``."""
        from django_partisan import scheduling

        scheduling.pause(self.name, comment)
        self._reload("paused", "comment")

    def resume(self) -> None:
        """Resume with the first tick from now on; see ``django_partisan.scheduling.resume``."""
        from django_partisan import scheduling

        scheduling.resume(self.name)
        self._reload("paused", "next_at")

    def upcoming(self, count: int = 5, after: datetime | None = None) -> list[datetime]:
        """Return the next ticks after a moment; the default is now, by the server's clock.

        They are computed from the definition alone, so a paused schedule has them, too.
        """
        from django_partisan.schedule_rows import upcoming

        return upcoming(self, count, after)

    def _reload(self, *fields: str) -> None:
        """Reload fields from the database that was written to, because a replica may lag behind."""
        self.refresh_from_db(using=router.db_for_write(Schedule), fields=fields)
