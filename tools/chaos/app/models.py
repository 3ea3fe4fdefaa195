"""What tasks and enqueuers write in the transactions that must be kept whole, or not at all."""

from django.db import models


class Effect(models.Model):
    """The write of one run of an atomic task."""

    key = models.TextField()
    run = models.TextField()

    def __str__(self) -> str:
        return f"{self.key} by {self.run}"


class Marker(models.Model):
    """The write of an enqueuer beside its tasks: it is there exactly if they were committed."""

    transaction = models.TextField(primary_key=True)

    def __str__(self) -> str:
        return self.transaction
