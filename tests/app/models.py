"""Something for a task to write, so that tests see what was committed."""

from django.db import models


class Note(models.Model):
    """A line that a task left behind."""

    id = models.BigAutoField(primary_key=True)
    text = models.TextField()

    def __str__(self) -> str:
        return self.text
