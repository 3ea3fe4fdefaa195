"""The results that the tasks store."""

from django.db import models


class IndexedFile(models.Model):
    """A Python file of the standard library, with its counts."""

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
    """The description of a top-level package, from the catalogue."""

    name = models.TextField(unique=True)
    summary = models.TextField()

    def __str__(self) -> str:
        return self.name
