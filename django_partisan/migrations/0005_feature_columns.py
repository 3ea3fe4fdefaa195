"""Columns and tables for the features of 2.0, made before any code uses them.

Every new column is nullable or has a database default, so no statement rewrites a table, and managers and
callers of earlier versions go on.
"""

from django.db import migrations, models
from django.db.models.functions import Now

from django_partisan.migrations._postgresql import POSTGRESQL_ONLY, OnPostgreSQL

# Both locks come before the first change. A heartbeat locks managers first and tasks second. If one is in
# the way, it waits for us: we give up long before PostgreSQL looks for a deadlock, which could end it.
LOCK = (
    "SET LOCAL lock_timeout = '5s'",
    "LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE",
    "SET LOCAL lock_timeout = '100ms'",
    "LOCK TABLE django_partisan_manager IN ACCESS EXCLUSIVE MODE",
)

TABLES = [
    migrations.CreateModel(
        name="CancelRequest",
        fields=[
            ("task_id", models.BigIntegerField(primary_key=True, serialize=False)),
            ("comment", models.TextField(db_default="")),
            ("requested_at", models.DateTimeField(db_default=Now())),
        ],
        options={"db_table": "django_partisan_cancel_request", **POSTGRESQL_ONLY},
    ),
    migrations.CreateModel(
        name="Pause",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("queue_name", models.CharField(max_length=50)),
            (
                "processor_class",
                models.CharField(db_default="", help_text="Empty for the whole queue.", max_length=255),
            ),
            ("until", models.DateTimeField(help_text="Empty until somebody resumes it.", null=True)),
            ("comment", models.TextField(db_default="")),
            ("by", models.TextField(db_default="", help_text="Who paused it.")),
        ],
        options={
            "constraints": [
                models.UniqueConstraint(fields=["queue_name", "processor_class"], name="partisan_pause_once")
            ],
            **POSTGRESQL_ONLY,
        },
    ),
    migrations.CreateModel(
        name="Schedule",
        fields=[
            ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
            ("definition", models.JSONField(help_text="The task, its arguments and its times.")),
            ("origin", models.TextField(help_text="Whether settings or a person defined it.")),
            ("fingerprint", models.TextField(db_default="", help_text="Changes with the definition.")),
            ("defined_at", models.DateTimeField(db_default=Now())),
            ("next_at", models.DateTimeField(null=True)),
            ("recent_ticks", models.JSONField(db_default=models.Value([], models.JSONField()))),
            ("totals", models.JSONField(db_default=models.Value({}, models.JSONField()))),
            ("error", models.TextField(db_default="", help_text="Why the last tick could not be enqueued.")),
            ("paused", models.BooleanField(db_default=False)),
            ("comment", models.TextField(db_default="")),
        ],
        options={**POSTGRESQL_ONLY},
    ),
    migrations.CreateModel(
        name="Chore",
        fields=[
            ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
            ("last_at", models.DateTimeField(null=True)),
            ("cursor", models.JSONField(help_text="Where the next pass continues.", null=True)),
        ],
        options={**POSTGRESQL_ONLY},
    ),
    migrations.CreateModel(
        name="Slot",
        fields=[
            (
                "pk",
                models.CompositePrimaryKey(
                    "key", "number", blank=True, editable=False, primary_key=True, serialize=False
                ),
            ),
            ("key", models.UUIDField()),
            ("number", models.IntegerField()),
            ("task_id", models.BigIntegerField(help_text="Empty while the slot is free.", null=True)),
            ("token", models.BigIntegerField(help_text="The claim under which its task runs.", null=True)),
            ("next_at", models.DateTimeField(help_text="When the slot may be used again.", null=True)),
        ],
        options={**POSTGRESQL_ONLY},
    ),
]

COLUMNS = [
    migrations.AddField(
        "task",
        "history",
        models.JSONField(help_text="Its runs that did not complete, and the last one.", null=True),
    ),
    migrations.AddField(
        "task", "started_at", models.DateTimeField(help_text="When its last run started.", null=True)
    ),
    migrations.AddField("task", "worker", models.TextField(null=True)),
    migrations.AddField(
        "task",
        "takeovers",
        models.SmallIntegerField(
            db_default=0, help_text="Rescues that could not tell whether it was running."
        ),
    ),
    migrations.AddField(
        "task", "timeout_seconds", models.FloatField(help_text="The time limit of one run.", null=True)
    ),
    migrations.AddField(
        "task", "expires_at", models.DateTimeField(help_text="It does not start after this.", null=True)
    ),
    migrations.AddField(
        "task", "held", models.TextField(help_text="Why it is set aside while it waits.", null=True)
    ),
    migrations.AddField("task", "unregistered_since", models.DateTimeField(null=True)),
    migrations.AddField("task", "result", models.JSONField(help_text="What its run returned.", null=True)),
    migrations.AddField(
        "task",
        "scheduled_for",
        models.DateTimeField(help_text="The tick of the schedule that enqueued it.", null=True),
    ),
    migrations.AddField(
        "task",
        "concurrency_key",
        models.UUIDField(help_text="Tasks of one key share its slots.", null=True),
    ),
    # Wider needs no rewrite; a step back does, and fails while a longer name is in the table.
    migrations.AlterField("task", "processor_class", models.CharField(max_length=255)),
    migrations.AddField(
        "managerlease",
        "state",
        models.JSONField(help_text="The tasks that it runs, and its totals.", null=True),
    ),
    migrations.AddField("managerlease", "version", models.TextField(null=True)),
    migrations.AddField("managerlease", "process_started_at", models.DateTimeField(null=True)),
    migrations.AddField(
        "managerlease",
        "schedules",
        models.JSONField(help_text="Names and fingerprints of the schedules in its settings.", null=True),
    ),
]


class Migration(migrations.Migration):
    dependencies = (("django_partisan", "0004_version_2_indexes"),)

    operations = (
        OnPostgreSQL(
            [
                *TABLES,
                migrations.RunSQL(LOCK, migrations.RunSQL.noop),
                *COLUMNS,
                migrations.RunSQL(migrations.RunSQL.noop, LOCK),
            ]
        ),
    )
