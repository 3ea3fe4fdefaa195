"""Queues, as version 1 added them; the name is part of old databases."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("django_partisan", "0001_initial"),)

    operations = (
        migrations.AddField("task", "queue_name", models.CharField(default="default", max_length=50)),
        migrations.AlterField("task", "extra", models.JSONField(default=dict)),
    )
