"""The partial indexes of version 2, built while others read and write the table.

A build that was interrupted leaves an invalid index behind, so each is dropped before it is made.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

DUPLICATE = models.UniqueConstraint(
    fields=["unique_key"],
    name="partisan_task_twin",
    condition=models.Q(status="new", unique_key__isnull=False),
)
DROP_DUPLICATE_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS partisan_task_twin"
CREATE_DUPLICATE_INDEX = """
    CREATE UNIQUE INDEX CONCURRENTLY partisan_task_twin ON django_partisan_task (unique_key)
     WHERE status = 'new' AND unique_key IS NOT NULL
"""


def index_anew(
    name: str, fields: list[str], condition: models.Q
) -> list[migrations.operations.base.Operation]:
    index = models.Index(fields=fields, name=name, condition=condition)
    return [
        migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", migrations.RunSQL.noop),
        AddIndexConcurrently("task", index),
    ]


class Migration(migrations.Migration):
    atomic = False

    dependencies = (("django_partisan", "0003_version_2"),)

    operations = (
        *index_anew(
            "partisan_task_ready",
            ["queue_name", "priority", "id"],
            models.Q(status="new", ready=True),
        ),
        *index_anew(
            "partisan_task_scheduled",
            ["queue_name", "execute_after"],
            models.Q(status="new", ready=False),
        ),
        *index_anew(
            "partisan_task_in_process",
            ["queue_name", "claimed_by"],
            models.Q(status="in_process"),
        ),
        *index_anew(
            "partisan_task_error",
            ["queue_name", "-finished_at"],
            models.Q(status="error"),
        ),
        migrations.RunSQL(DROP_DUPLICATE_INDEX, migrations.RunSQL.noop),
        # Django has no concurrent way to add a constraint; in PostgreSQL it is this index.
        migrations.RunSQL(
            CREATE_DUPLICATE_INDEX,
            DROP_DUPLICATE_INDEX,
            state_operations=[migrations.AddConstraint("task", DUPLICATE)],
        ),
    )
