# ruff: noqa: DJ008 - no page shows most of these rows
"""The models of managers, of operators' requests to them, and of the state that managers share.

The tables have no foreign keys to tasks. Tasks are deleted at a high rate, and each deletion would have to
check every table that refers to them. A row that names a deleted task has no effect.
"""

import uuid

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from django_partisan.models.json_column import JSONColumn
from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH, QUEUE_NAME_MAX_LENGTH, WORKER_ROLE


class ManagerLease(models.Model):
    """A manager, or a worker without its manager: its identity, its lease, and its published state."""

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
    state = JSONColumn(null=True, help_text=_("The tasks that it runs, and its totals."))
    version = models.TextField(null=True)  # noqa: DJ001 - null: of an earlier version
    process_started_at = models.DateTimeField(null=True)
    schedules = JSONColumn(null=True, help_text=_("Names and fingerprints of the schedules in its settings."))

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
    """An operator's request to cancel a task that could not be cancelled at once, mostly because it runs."""

    task_id = models.BigIntegerField(primary_key=True)
    comment = models.TextField(db_default="")
    requested_at = models.DateTimeField(db_default=Now())

    class Meta:
        required_db_vendor = "postgresql"
        db_table = "django_partisan_cancel_request"


class Pause(models.Model):
    """The pause of a queue, or of one of its processors: no task of it starts."""

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


class Chore(models.Model):
    """Periodic work that one manager does on behalf of all, such as pruning."""

    name = models.CharField(primary_key=True, max_length=PROCESSOR_NAME_MAX_LENGTH)
    last_at = models.DateTimeField(null=True)
    cursor = models.JSONField(null=True, help_text=_("Where the next pass continues."))

    class Meta:
        required_db_vendor = "postgresql"


class Slot(models.Model):
    """A slot of a concurrency key: as many tasks of the key may run at the same time as it has slots."""

    pk = models.CompositePrimaryKey("key", "number")
    key = models.UUIDField()
    number = models.IntegerField()
    task_id = models.BigIntegerField(null=True, help_text=_("Empty while the slot is free."))
    token = models.BigIntegerField(null=True, help_text=_("The claim under which its task runs."))
    next_at = models.DateTimeField(null=True, help_text=_("When the slot may be used again."))

    class Meta:
        required_db_vendor = "postgresql"
