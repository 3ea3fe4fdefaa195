"""The partial indexes of version 2, built while others read and write the table."""

from django.db import migrations, models

from django_partisan.migrations._postgresql import BuildIndex, BuildUniqueConstraint, OnPostgreSQL


class Migration(migrations.Migration):
    atomic = False

    dependencies = (("django_partisan", "0003_version_2"),)

    operations = (
        OnPostgreSQL(
            [
                BuildIndex(
                    "task",
                    models.Index(
                        fields=["queue_name", "priority", "id"],
                        name="partisan_task_ready",
                        condition=models.Q(status="new", ready=True),
                    ),
                ),
                BuildIndex(
                    "task",
                    models.Index(
                        fields=["queue_name", "execute_after"],
                        name="partisan_task_scheduled",
                        condition=models.Q(status="new", ready=False),
                    ),
                ),
                BuildIndex(
                    "task",
                    models.Index(
                        fields=["queue_name", "claimed_by"],
                        name="partisan_task_in_process",
                        condition=models.Q(status="in_process"),
                    ),
                ),
                BuildIndex(
                    "task",
                    models.Index(
                        fields=["queue_name", "-finished_at"],
                        name="partisan_task_error",
                        condition=models.Q(status="error"),
                    ),
                ),
                BuildUniqueConstraint(
                    "task",
                    models.UniqueConstraint(
                        fields=["unique_key"],
                        name="partisan_task_twin",
                        condition=models.Q(status="new", unique_key__isnull=False),
                    ),
                ),
            ]
        ),
    )
