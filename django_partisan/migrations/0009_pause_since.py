"""When each pause began; the table is small, and whoever does not know the column gives it its default."""

from django.db import migrations, models
from django.db.models.functions import Now

from django_partisan.migrations._postgresql import OnPostgreSQL


class Migration(migrations.Migration):
    dependencies = (("django_partisan", "0008_admin_permissions"),)

    operations = (
        OnPostgreSQL(
            [
                migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
                migrations.AddField("pause", "paused_at", models.DateTimeField(null=True, db_default=Now())),
            ]
        ),
    )
