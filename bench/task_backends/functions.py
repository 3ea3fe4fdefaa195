"""The function of the benchmark: an empty body that takes note of its run."""

from django.tasks import task

from bench import recorder


@task
def body(i: int, m: int) -> None:
    """Take note of task ``i`` in mode ``m``."""
    recorder.hit(i, m)
