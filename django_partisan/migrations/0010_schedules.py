"""What a schedule is and what became of its ticks; no code has used the table before."""

from django.db import migrations, models

from django_partisan.migrations._postgresql import OnPostgreSQL


class Migration(migrations.Migration):
    dependencies = (("django_partisan", "0009_pause_since"),)

    operations = (
        OnPostgreSQL(
            [
                migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
                migrations.AlterModelOptions(
                    name="schedule",
                    options={
                        "permissions": (
                            ("run_schedule", "Can run schedules now"),
                            ("pause_schedule", "Can pause and resume schedules"),
                        ),
                        "verbose_name": "schedule",
                        "verbose_name_plural": "schedules",
                    },
                ),
                migrations.AlterField(
                    model_name="schedule",
                    name="definition",
                    field=models.JSONField(
                        db_default=models.Value({}, models.JSONField()),
                        default=dict,
                        editable=False,
                        help_text="Unused; removed in version 3.0, as processes of version 2.0 may still name it.",
                    ),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="args",
                    field=models.JSONField(
                        blank=True, db_default=models.Value([], models.JSONField()), default=list
                    ),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="catch_up",
                    field=models.TextField(db_default="one", default="one"),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="cron",
                    field=models.TextField(
                        blank=True, help_text="Five fields, or a name such as @daily.", null=True
                    ),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="every",
                    field=models.PositiveIntegerField(
                        blank=True,
                        help_text="Seconds; ticks are multiples of it, counted from 1970 in UTC.",
                        null=True,
                    ),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="expires_seconds",
                    field=models.FloatField(blank=True, null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="failures",
                    field=models.IntegerField(db_default=0, help_text="Failed attempts since then."),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="kwargs",
                    field=models.JSONField(
                        blank=True, db_default=models.Value({}, models.JSONField()), default=dict
                    ),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="last_at",
                    field=models.DateTimeField(help_text="The moment of the last tick.", null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="last_completed_at",
                    field=models.DateTimeField(null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="last_failed",
                    field=models.BooleanField(db_default=False),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="last_task_id",
                    field=models.BigIntegerField(help_text="The task that was enqueued last.", null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="lateness_seconds",
                    field=models.FloatField(help_text="How late the last tick was enqueued.", null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="open_tick",
                    field=models.JSONField(help_text="The oldest tick whose task has not ended.", null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="overlap",
                    field=models.BooleanField(db_default=True, default=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="priority",
                    field=models.IntegerField(blank=True, null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="queue_name",
                    field=models.CharField(blank=True, max_length=50, null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="retry_at",
                    field=models.DateTimeField(null=True),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="stopped_at",
                    field=models.DateTimeField(
                        help_text="Since when no live manager has it in its settings.",
                        null=True,
                    ),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="task",
                    field=models.CharField(
                        db_default="",
                        help_text="The registered name of a processor, or the path of a task function.",
                        max_length=255,
                    ),
                ),
                migrations.AddField(
                    model_name="schedule",
                    name="time_zone",
                    field=models.TextField(
                        blank=True, help_text="The time zone of cron; TIME_ZONE by default.", null=True
                    ),
                ),
                migrations.AlterField(
                    model_name="schedule",
                    name="origin",
                    field=models.TextField(
                        db_default="database",
                        default="database",
                        help_text="Where it is defined: in the settings or in the database.",
                    ),
                ),
            ]
        ),
    )
