"""Faults of tasks: failing, killing workers, flooding, hanging, waiting too long, or not runnable."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.real_parts.game_day.site import Fault, Site

RUNS_PER_SECOND = 10


def fails(percent: int) -> Fault:
    """Return a fault that makes ``percent`` of the tasks of one kind fail, until recovery."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        failing = RUNS_PER_SECOND * percent / 100
        with (
            site.stream("Charge", True, per_second=failing),
            site.stream("Charge", False, per_second=RUNS_PER_SECOND - failing),
        ):
            yield
        site.enqueue_steadily("Charge", False, per_second=RUNS_PER_SECOND)

    return fault


def stream(processor: str, *args: float, per_second: float) -> Fault:
    """Return a fault that enqueues tasks of one kind steadily; then cancel the rest."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        with site.stream(processor, *args, per_second=per_second):
            yield
        site.command("partisan_cancel", "--processor", processor, "--yes")

    return fault


def one(processor: str, *args: float) -> Fault:
    """Return a fault that enqueues one task, which ends by itself."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        site.enqueue(processor, *args)
        yield

    return fault


def cancelled(processor: str, *args: float, count: int = 1) -> Fault:
    """Return a fault that enqueues tasks of one kind; then cancel them."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        site.enqueue(processor, *args, count=count)
        yield
        site.command("partisan_cancel", "--processor", processor, "--yes")

    return fault


@contextmanager
def several_kinds_crash(site: Site) -> Iterator[None]:
    """Let tasks of two kinds kill their workers."""
    with site.stream("Render", per_second=1), site.stream("Convert", per_second=1):
        yield


@contextmanager
def run_stuck(site: Site) -> Iterator[None]:
    """Let one run take far longer than other runs of its kind; then cancel it."""
    with site.stream("Nap", 0.1, per_second=2):
        site.wait_for('job_queue_processor:partisan_task_duration_seconds:p99_rate7d{JOB, processor="Nap"}')
        site.enqueue("Nap", 3600)
        yield
    site.command("partisan_cancel", "--processor", "Nap", "--yes")


@contextmanager
def backlog_grows(site: Site) -> Iterator[None]:
    """Enqueue more than the workers of a queue can run; then cancel the rest."""
    site.start_manager("hurried")
    with site.stream("HurriedNap", 0.2, per_second=30):
        yield
    site.command("partisan_cancel", "--processor", "HurriedNap", "--yes")


@contextmanager
def objective_missed(site: Site) -> Iterator[None]:
    """Let tasks wait longer than their objective allows; then cancel them."""
    site.start_manager("urgent")
    with site.stream("UrgentNap", 0.5, per_second=8):
        yield
    site.command("partisan_cancel", "--processor", "UrgentNap", "--yes")


@contextmanager
def low_priorities_starve(site: Site) -> Iterator[None]:
    """Keep all workers busy with urgent tasks while others wait; then cancel the urgent ones."""
    site.start_manager("hurried")
    site.enqueue("HurriedNap", 0.3, count=60)
    site.enqueue("HurriedLast", 0.1, count=3)
    with site.stream("HurriedNap", 0.3, per_second=7):
        yield
    site.command("partisan_cancel", "--processor", "HurriedNap", "--yes")


@contextmanager
def nightly_fails(site: Site) -> Iterator[None]:
    """Let the only task of a schedule fail; then remove the cause, and run it again."""
    source_is_down = site.folder / "source-is-down"
    source_is_down.touch()
    site.command("partisan_schedules", "--run", "nightly")
    yield
    source_is_down.unlink()
    site.command("partisan_schedules", "--run", "nightly")


@contextmanager
def memory_hog(site: Site) -> Iterator[None]:
    """Let one task use far more memory than any worker did before; then cancel it."""
    site.enqueue("Load", 700, 3600)
    yield
    site.command("partisan_cancel", "--processor", "Load", "--yes")
