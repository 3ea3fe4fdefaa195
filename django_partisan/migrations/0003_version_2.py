"""The columns and the table of version 2.

``id`` becomes bigint, which rewrites the table under an exclusive lock; UPGRADING.md says how long.
Every other column is added without a rewrite, nullable or with a database default.
"""

import uuid

import django.db.models.functions.datetime
from django.db import migrations, models

from django_partisan.migrations._postgresql import POSTGRESQL_ONLY, CreateSequence, OnPostgreSQL

# Version 1 counted in the JSON of ``extra``; tasks under way go on from there.
CARRY_COUNTERS = """
    UPDATE django_partisan_task
       SET postpones = coalesce((extra #>> '{postpones,count}')::int, 0),
           retries = coalesce((extra #>> '{retries,count}')::int, 0)
     WHERE status IN ('new', 'in_process') AND extra ?| ARRAY['postpones', 'retries']
"""


class Migration(migrations.Migration):
    dependencies = (("django_partisan", "0002_auto_20200721_0300"),)

    operations = (
        migrations.CreateModel(
            name="ManagerLease",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("queue_name", models.CharField(max_length=50)),
                ("host", models.TextField()),
                ("pid", models.IntegerField()),
                (
                    "lock_name",
                    models.UUIDField(
                        help_text="The file that this manager and its workers hold locked on their host."
                    ),
                ),
                ("lease_seconds", models.FloatField()),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("heartbeat_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "sleeping",
                    models.BooleanField(db_default=False, help_text="Asks to be notified of new tasks."),
                ),
            ],
            options={"verbose_name": "manager", "db_table": "django_partisan_manager", **POSTGRESQL_ONLY},
        ),
        OnPostgreSQL([CreateSequence("django_partisan_claim_token_seq")]),
        migrations.AlterModelOptions("task", options={}),
        migrations.AlterField(
            "task",
            "extra",
            models.JSONField(default=dict, help_text="Kept for version 1; version 2 does not write it."),
        ),
        migrations.AlterField(
            "task",
            "id",
            models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
        ),
        migrations.AddField(
            "task", "attempts", models.IntegerField(db_default=0, help_text="Runs that ended, well or badly.")
        ),
        migrations.AddField(
            "task",
            "crashes",
            models.IntegerField(db_default=0, help_text="Runs that ended with the death of their worker."),
        ),
        migrations.AddField("task", "retries", models.IntegerField(db_default=0)),
        migrations.AddField("task", "postpones", models.IntegerField(db_default=0)),
        migrations.AddField(
            "task", "ready", models.BooleanField(db_default=False, help_text="Waits and is known to be due.")
        ),
        migrations.AddField(
            "task",
            "claim_token",
            models.BigIntegerField(null=True, help_text="The claim under which it runs."),
        ),
        migrations.AddField(
            "task", "claimed_by", models.UUIDField(null=True, help_text="The manager that holds or held it.")
        ),
        migrations.AddField("task", "claimed_at", models.DateTimeField(null=True)),
        migrations.AddField("task", "finished_at", models.DateTimeField(null=True)),
        migrations.AddField("task", "error_reason", models.TextField(null=True)),
        migrations.AddField("task", "error_type", models.TextField(null=True)),
        migrations.AddField("task", "error_message", models.TextField(null=True)),
        migrations.AddField("task", "error_traceback", models.TextField(null=True)),
        migrations.AddField(
            "task", "context", models.JSONField(null=True, help_text="Trace and log context of the enqueuer.")
        ),
        migrations.AddField(
            "task",
            "unique_key",
            models.UUIDField(null=True, help_text="Same for the same processor and arguments."),
        ),
        OnPostgreSQL([migrations.RunSQL(CARRY_COUNTERS, migrations.RunSQL.noop)]),
    )
