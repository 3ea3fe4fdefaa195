"""What the tasks store."""

from django.db import models


class IndexedFile(models.Model):
    """One Python file of the standard library, counted."""

    path = models.TextField(unique=True)
    package = models.TextField()
    is_test = models.BooleanField()
    lines = models.IntegerField()
    functions = models.IntegerField()
    classes = models.IntegerField()
    seconds = models.FloatField(help_text="How long the task's run() took to read and parse it.")

    def __str__(self) -> str:
        return self.path


class Package(models.Model):
    """What the catalogue says about one top-level package."""

    name = models.TextField(unique=True)
    summary = models.TextField()

    def __str__(self) -> str:
        return self.name
