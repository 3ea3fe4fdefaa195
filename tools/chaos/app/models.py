"""Rows that tasks and enqueuers write in transactions, which must be committed as a whole or not at all."""

from django.db import models


class Effect(models.Model):
    """The row that a run of an atomic task writes."""

    key = models.TextField()
    run = models.TextField()

    def __str__(self) -> str:
        return f"{self.key} by {self.run}"


class Marker(models.Model):
    """The row that an enqueuer writes together with its tasks. It exists only if they were committed."""

    transaction = models.TextField(primary_key=True)

    def __str__(self) -> str:
        return self.transaction
