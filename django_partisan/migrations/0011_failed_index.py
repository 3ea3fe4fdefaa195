"""The index of failed tasks also has what their lists filter by.

The earlier index is replaced: the new one is built before the old one is dropped.
"""

from django.db import migrations, models

from django_partisan.migrations._postgresql import BuildIndexSoon, DropIndex, OnPostgreSQL


class Migration(migrations.Migration):
    atomic = False

    dependencies = (("django_partisan", "0010_schedules"),)

    operations = (
        OnPostgreSQL(
            [
                BuildIndexSoon(
                    "task",
                    models.Index(
                        fields=["queue_name", "-finished_at", "-id"],
                        include=["error_reason", "processor_class"],
                        name="partisan_task_failed",
                        condition=models.Q(status="error"),
                    ),
                ),
                DropIndex("task", "partisan_task_error"),
            ]
        ),
    )
