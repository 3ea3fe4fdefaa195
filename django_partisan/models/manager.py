"""The managers that live, or whose tasks nobody has rescued yet."""

import uuid

from django.db import models
from django.db.models.functions import Now

from django_partisan.names import QUEUE_NAME_MAX_LENGTH


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
    state = models.JSONField(null=True, help_text="The tasks that it runs, and its totals.")
    version = models.TextField(null=True)  # noqa: DJ001 - null for managers that are older than 0005
    process_started_at = models.DateTimeField(null=True)
    schedules = models.JSONField(
        null=True, help_text="Names and fingerprints of the schedules in its settings."
    )

    class Meta:
        db_table = "django_partisan_manager"
        verbose_name = "manager"

    def __str__(self) -> str:
        return f"{self.queue_name} at {self.host}:{self.pid}"
