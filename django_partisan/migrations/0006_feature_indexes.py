"""The partial indexes of held tasks, built while others read and write the table."""

from django.db import migrations, models

from django_partisan.migrations._postgresql import BuildIndexSoon, OnPostgreSQL


class Migration(migrations.Migration):
    atomic = False

    dependencies = (("django_partisan", "0005_feature_columns"),)

    operations = (
        OnPostgreSQL(
            [
                BuildIndexSoon(
                    "task",
                    models.Index(
                        fields=["queue_name", "held", "processor_class", "priority", "id"],
                        name="partisan_task_held",
                        condition=models.Q(held__isnull=False),
                    ),
                ),
                BuildIndexSoon(
                    "task",
                    models.Index(
                        fields=["concurrency_key", "priority", "id"],
                        name="partisan_task_limited",
                        condition=models.Q(held="limit"),
                    ),
                ),
            ]
        ),
    )
