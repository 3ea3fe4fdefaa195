"""The task function of the benchmark. Its body only records that it ran."""

from django.tasks import task

from bench import recorder


@task
def body(i: int, m: int) -> None:
    """Record task ``i`` in mode ``m``."""
    recorder.hit(i, m)
