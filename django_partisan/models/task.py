"""The model of tasks, and a ``QuerySet`` with filters and actions for groups of tasks."""

from contextlib import suppress
from typing import TYPE_CHECKING

from django.db import models, router
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_partisan.names import DEFAULT_QUEUE, PROCESSOR_NAME_MAX_LENGTH, QUEUE_NAME_MAX_LENGTH
from django_partisan.outcomes import REASONS_TO_NAME

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Self

    from django_partisan.cancelling import CancelResult


class TaskQuerySet(models.QuerySet["Task"]):
    """A ``QuerySet`` whose filters are named after the states of tasks in the documentation."""

    def waiting(self) -> "Self":
        """Select tasks that are waiting to run, due or scheduled."""
        return self.filter(status=Task.STATUS_NEW)

    def due(self) -> "Self":
        """Select waiting tasks that are due, by the database's clock."""
        return self.waiting().filter(execute_after__lte=Now())

    def scheduled(self) -> "Self":
        """Select waiting tasks that are not due yet, by the database's clock."""
        return self.waiting().filter(execute_after__gt=Now())

    def held(self) -> "Self":
        """Select waiting tasks that are held; their field ``held`` contains the reason."""
        return self.waiting().filter(held__isnull=False)

    def in_process(self) -> "Self":
        """Select tasks that a manager has claimed."""
        return self.filter(status=Task.STATUS_IN_PROCESS)

    def finished(self) -> "Self":
        """Select tasks that completed."""
        return self.filter(status=Task.STATUS_FINISHED)

    def failed(self) -> "Self":
        """Select tasks that failed."""
        return self.filter(status=Task.STATUS_ERROR)

    def requeueable(self, reasons: "Collection[str]" = ()) -> "Self":
        """Select failed tasks; cancelled or expired ones only if ``reasons`` names that reason."""
        left_out = [reason for reason in REASONS_TO_NAME if reason not in reasons]
        return self.failed().exclude(error_reason__in=left_out)

    def requeue(self, reasons: "Collection[str]" = (), comment: str = "") -> int:
        """Requeue the failed tasks among these, so that they wait again; return how many.

        Tasks that were cancelled or expired are skipped unless ``reasons`` names ``cancelled`` or
        ``expired``. ``comment`` is stored in the history of each task.
        """
        from django_partisan.requeueing import requeue_all

        chosen = self._as_written().requeueable(reasons)
        return sum(requeue_all(list(chosen.order_by().values_list("pk", flat=True)), comment))

    def cancellable(self) -> "Self":
        """Select tasks that have not ended: they are waiting, or a manager has claimed them."""
        return self.filter(status__in=(Task.STATUS_NEW, Task.STATUS_IN_PROCESS))

    def cancel(self, comment: str = "") -> "CancelResult":
        """Cancel the tasks among these that have not ended; return how many were cancelled or asked to end.

        A waiting task fails with the reason ``cancelled``, and never starts. A task that a manager has
        claimed is asked to end: ``TaskCancelled`` is raised inside ``run()``. ``comment`` is stored in the
        history of each task.
        """
        from django_partisan.cancelling import CancelResult, cancel_all

        chosen = self._as_written().cancellable()
        results = list(cancel_all(list(chosen.order_by().values_list("pk", flat=True)), comment))
        return CancelResult(sum(one.cancelled for one in results), sum(one.requested for one in results))

    def _as_written(self) -> "Self":
        """Return this query on the database for writes, because a replica may lag behind."""
        tasks = self.using(router.db_for_write(Task))
        if not self.query.is_sliced:
            return tasks
        return type(self)(Task, using=tasks.db).filter(pk__in=tasks.values("pk"))


class Task(models.Model):
    """A task: one call that is waiting, running or has ended."""

    STATUS_NEW = "new"
    STATUS_IN_PROCESS = "in_process"
    STATUS_ERROR = "error"
    STATUS_FINISHED = "finished"
    STATUS_CHOICES = (
        (STATUS_NEW, _("New")),
        (STATUS_IN_PROCESS, _("In Process")),
        (STATUS_ERROR, _("Error")),
        (STATUS_FINISHED, _("Finished")),
    )

    status = models.CharField(max_length=20, choices=STATUS_CHOICES, default=STATUS_NEW)
    queue_name = models.CharField(max_length=QUEUE_NAME_MAX_LENGTH, default=DEFAULT_QUEUE)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    processor_class = models.CharField(max_length=PROCESSOR_NAME_MAX_LENGTH)
    priority = models.IntegerField(default=10)
    execute_after = models.DateTimeField(default=timezone.now)
    arguments = models.JSONField(default=dict)
    extra = models.JSONField(default=dict, help_text=_("Kept for version 1; version 2 does not write it."))

    # New in version 2. Each is nullable or has a database default, so that version 1 can still insert.
    attempts = models.IntegerField(db_default=0, help_text=_("Runs that ended, well or badly."))
    crashes = models.IntegerField(
        db_default=0, help_text=_("Runs that ended with the death of their worker.")
    )
    retries = models.IntegerField(db_default=0)
    postpones = models.IntegerField(db_default=0)
    ready = models.BooleanField(db_default=False, help_text=_("Waits and is known to be due."))
    claim_token = models.BigIntegerField(null=True, help_text=_("The claim under which it runs."))
    claimed_by = models.UUIDField(null=True, help_text=_("The manager that holds or held it."))
    claimed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error_reason = models.TextField(null=True)  # noqa: DJ001 - null means that it never failed
    error_type = models.TextField(null=True)  # noqa: DJ001
    error_message = models.TextField(null=True)  # noqa: DJ001
    error_traceback = models.TextField(null=True)  # noqa: DJ001
    context = models.JSONField(null=True, help_text=_("Trace and log context of the enqueuer."))
    unique_key = models.UUIDField(null=True, help_text=_("Same for the same processor and arguments."))

    # Added by migration 0005, under the same rule.
    history = models.JSONField(null=True, help_text=_("Its runs that did not complete, and the last one."))
    started_at = models.DateTimeField(null=True, help_text=_("When its last run started."))
    worker = models.TextField(null=True)  # noqa: DJ001 - null means that no worker has run it
    takeovers = models.SmallIntegerField(
        db_default=0, help_text=_("Rescues that could not tell whether it was running.")
    )
    timeout_seconds = models.FloatField(null=True, help_text=_("The time limit of one run."))
    expires_at = models.DateTimeField(null=True, help_text=_("It does not start after this."))
    held = models.TextField(null=True, help_text=_("Why it is set aside while it waits."))  # noqa: DJ001
    unregistered_since = models.DateTimeField(null=True)
    result = models.JSONField(null=True, help_text=_("What its run returned."))
    scheduled_for = models.DateTimeField(null=True, help_text=_("The tick of the schedule that enqueued it."))
    concurrency_key = models.UUIDField(null=True, help_text=_("Tasks of one key share its slots."))

    objects = TaskQuerySet.as_manager()

    # Set on the object that ``delay()`` returns: True if a duplicate was waiting, so no task was created.
    is_duplicate = False

    class Meta:
        required_db_vendor = "postgresql"  # no table is created or expected in other databases
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        # Permissions for actions on tasks in the admin; deletion has Django's own permission.
        permissions = (
            ("requeue_task", "Can requeue failed tasks"),
            ("cancel_task", "Can cancel tasks"),
            ("run_task_now", "Can make scheduled tasks due now"),
            ("prioritize_task", "Can change the priority of waiting tasks"),
        )
        indexes = (
            # For claims: due rows only, in running order.
            models.Index(
                fields=["queue_name", "priority", "id"],
                name="partisan_task_ready",
                condition=models.Q(status="new", ready=True),
            ),
            # For the promotion of scheduled rows, and to find when the next one is due.
            models.Index(
                fields=["queue_name", "execute_after"],
                name="partisan_task_upcoming",
                condition=models.Q(status="new", ready=False, held__isnull=True),
            ),
            # For the rescue of tasks that a dead manager held.
            models.Index(
                fields=["queue_name", "claimed_by"],
                name="partisan_task_in_process",
                condition=models.Q(status="in_process"),
            ),
            # For counts and lists of failed tasks, latest first, without visiting the rows.
            models.Index(
                fields=["queue_name", "-finished_at", "-id"],
                include=["error_reason", "processor_class"],
                name="partisan_task_failed",
                condition=models.Q(status="error"),
            ),
            # For held tasks, by reason and processor.
            models.Index(
                fields=["queue_name", "held", "processor_class", "priority", "id"],
                name="partisan_task_held",
                condition=models.Q(held__isnull=False),
            ),
            # For held tasks whose processor is not registered, longest held first.
            models.Index(
                fields=["queue_name", "unregistered_since"],
                name="partisan_task_unregistered",
                condition=models.Q(held="unregistered"),
            ),
            # For the next task of a concurrency key whose slots were all taken.
            models.Index(
                fields=["concurrency_key", "priority", "id"],
                name="partisan_task_limited",
                condition=models.Q(held="limit"),
            ),
        )
        constraints = (
            # A duplicate is a waiting task of the same processor and arguments.
            models.UniqueConstraint(
                fields=["unique_key"],
                name="partisan_task_twin",
                condition=models.Q(status="new", unique_key__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.processor_class} {self.pk} ({self.status})"

    def requeue(self, comment: str = "") -> bool:
        """Requeue this failed task, whatever the reason of its failure; return whether it was requeued.

        ``False`` means that the task is no longer failed, or that another transaction locks its row. This
        object is reloaded from the row. ``comment`` is stored in the task's history.
        """
        from django_partisan.requeueing import requeue_all

        is_requeued = any(requeue_all([self.pk], comment))
        self.refresh_from_db(using=router.db_for_write(Task))
        return is_requeued

    def cancel(self, comment: str = "") -> "CancelResult":
        """Cancel this task unless it has ended; return whether it was cancelled or was asked to end.

        This object is reloaded if the row still exists. ``comment`` is stored in the task's history.
        """
        from django_partisan.cancelling import cancel_all

        [result] = cancel_all([self.pk], comment)
        with suppress(Task.DoesNotExist):  # the task has completed, and its row was deleted
            self.refresh_from_db(using=router.db_for_write(Task))
        return result
