"""Indexes for held tasks: promotion no longer reads them, and the longest held are found first.

The index of scheduled rows is replaced: the new one is built before the old one is dropped.
"""

from django.db import migrations, models

from django_partisan.migrations._postgresql import BuildIndexSoon, DropIndex, OnPostgreSQL


class Migration(migrations.Migration):
    atomic = False

    dependencies = (("django_partisan", "0006_feature_indexes"),)

    operations = (
        OnPostgreSQL(
            [
                BuildIndexSoon(
                    "task",
                    models.Index(
                        fields=["queue_name", "execute_after"],
                        name="partisan_task_upcoming",
                        condition=models.Q(status="new", ready=False, held__isnull=True),
                    ),
                ),
                BuildIndexSoon(
                    "task",
                    models.Index(
                        fields=["queue_name", "unregistered_since"],
                        name="partisan_task_unregistered",
                        condition=models.Q(held="unregistered"),
                    ),
                ),
                DropIndex("task", "partisan_task_scheduled"),
            ]
        ),
    )
