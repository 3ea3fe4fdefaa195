"""A model that tasks write to, so that tests see what was committed."""

from django.db import models


class Note(models.Model):
    """A line written by a task."""

    id = models.BigAutoField(primary_key=True)
    text = models.TextField()

    def __str__(self) -> str:
        return self.text
