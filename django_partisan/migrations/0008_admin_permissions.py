"""The permissions of the admin's actions, and names of tables. No statement is run on a table of tasks."""

from django.db import migrations

PERMISSIONS = (
    ("requeue_task", "Can requeue failed tasks"),
    ("cancel_task", "Can cancel tasks"),
    ("run_task_now", "Can make scheduled tasks due now"),
    ("prioritize_task", "Can change the priority of waiting tasks"),
)


class Migration(migrations.Migration):
    dependencies = (("django_partisan", "0007_held_indexes"),)

    operations = (
        migrations.AlterModelOptions(
            "task",
            {"permissions": PERMISSIONS, "verbose_name": "task", "verbose_name_plural": "tasks"},
        ),
        migrations.AlterModelOptions(
            "managerlease", {"verbose_name": "manager", "verbose_name_plural": "managers"}
        ),
    )
