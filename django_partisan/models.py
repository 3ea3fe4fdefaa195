"""The two tables: tasks, and the managers that serve them.

Every statement of the hot path stands in ``django_partisan.sql``; here are the shape of the rows
and the questions a person asks of them.
"""

import uuid
from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from django_partisan.config.queues import DEFAULT_QUEUE, QUEUE_NAME_MAX_LENGTH
from django_partisan.registry import PROCESSOR_NAME_MAX_LENGTH

if TYPE_CHECKING:
    from typing import Self


class TaskQuerySet(models.QuerySet["Task"]):
    """Ask for tasks in the words of the documentation."""

    def waiting(self) -> "Self":
        """Select tasks that wait to run, due or scheduled."""
        return self.filter(status=Task.STATUS_NEW)

    def due(self) -> "Self":
        """Select waiting tasks whose time has come, by the database's clock."""
        return self.waiting().filter(execute_after__lte=Now())

    def scheduled(self) -> "Self":
        """Select waiting tasks whose time lies ahead, by the database's clock."""
        return self.waiting().filter(execute_after__gt=Now())

    def in_process(self) -> "Self":
        """Select tasks that a manager holds."""
        return self.filter(status=Task.STATUS_IN_PROCESS)

    def finished(self) -> "Self":
        """Select tasks that finished well."""
        return self.filter(status=Task.STATUS_FINISHED)

    def failed(self) -> "Self":
        """Select tasks that failed for good."""
        return self.filter(status=Task.STATUS_ERROR)


class Task(models.Model):
    """One call that waits, runs or is done."""

    STATUS_NEW = "new"
    STATUS_IN_PROCESS = "in_process"
    STATUS_ERROR = "error"
    STATUS_FINISHED = "finished"
    STATUS_CHOICES = (
        (STATUS_NEW, "New"),
        (STATUS_IN_PROCESS, "In Process"),
        (STATUS_ERROR, "Error"),
        (STATUS_FINISHED, "Finished"),
    )

    status = models.CharField(max_length=20, choices=STATUS_CHOICES, default=STATUS_NEW)
    queue_name = models.CharField(max_length=QUEUE_NAME_MAX_LENGTH, default=DEFAULT_QUEUE)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    processor_class = models.CharField(max_length=PROCESSOR_NAME_MAX_LENGTH)
    priority = models.IntegerField(default=10)
    execute_after = models.DateTimeField(default=timezone.now)
    arguments = models.JSONField(default=dict)
    extra = models.JSONField(default=dict, help_text="Kept for version 1; version 2 does not write it.")

    # New in version 2. Each is nullable or has a database default, so that version 1 can still insert.
    attempts = models.IntegerField(db_default=0, help_text="Runs that ended, well or badly.")
    crashes = models.IntegerField(db_default=0, help_text="Runs that ended with the death of their worker.")
    retries = models.IntegerField(db_default=0)
    postpones = models.IntegerField(db_default=0)
    ready = models.BooleanField(db_default=False, help_text="Waits and is known to be due.")
    claim_token = models.BigIntegerField(null=True, help_text="The claim under which it runs.")
    claimed_by = models.UUIDField(null=True, help_text="The manager that holds or held it.")
    claimed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error_reason = models.TextField(null=True)  # noqa: DJ001 - null means that it never failed
    error_type = models.TextField(null=True)  # noqa: DJ001
    error_message = models.TextField(null=True)  # noqa: DJ001
    error_traceback = models.TextField(null=True)  # noqa: DJ001
    context = models.JSONField(null=True, help_text="Trace and log context of the enqueuer.")
    unique_key = models.UUIDField(null=True, help_text="Same for the same processor and arguments.")

    objects = TaskQuerySet.as_manager()

    class Meta:
        indexes = (
            # The claim: due rows only, in the order in which they run.
            models.Index(
                fields=["queue_name", "priority", "id"],
                name="partisan_task_ready",
                condition=models.Q(status="new", ready=True),
            ),
            # The promotion of scheduled rows, and when the next is due.
            models.Index(
                fields=["queue_name", "execute_after"],
                name="partisan_task_scheduled",
                condition=models.Q(status="new", ready=False),
            ),
            # The rescue of what a dead manager held.
            models.Index(
                fields=["queue_name", "claimed_by"],
                name="partisan_task_in_process",
                condition=models.Q(status="in_process"),
            ),
            # How many failed, the latest first.
            models.Index(
                fields=["queue_name", "-finished_at"],
                name="partisan_task_error",
                condition=models.Q(status="error"),
            ),
        )
        constraints = (
            # A twin is a waiting task of the same processor and arguments.
            models.UniqueConstraint(
                fields=["unique_key"],
                name="partisan_task_twin",
                condition=models.Q(status="new", unique_key__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.processor_class} {self.pk} ({self.status})"


class ManagerLease(models.Model):
    """One manager process: who it is, and until when it counts as alive."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    queue_name = models.CharField(max_length=QUEUE_NAME_MAX_LENGTH)
    host = models.TextField()
    pid = models.IntegerField()
    lock_name = models.UUIDField(
        help_text="The file that this manager and its workers hold locked on their host."
    )
    lease_seconds = models.FloatField()
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    sleeping = models.BooleanField(db_default=False, help_text="Asks to be notified of new tasks.")

    class Meta:
        db_table = "django_partisan_manager"
        verbose_name = "manager"

    def __str__(self) -> str:
        return f"{self.queue_name} at {self.host}:{self.pid}"
