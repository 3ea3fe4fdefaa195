"""Read the outcomes and the timing of all enqueued tasks from the table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from demo import library
from demo.models import IndexedFile
from django_partisan.models import Task


@dataclass(frozen=True)
class Account:
    """The outcomes of all enqueued tasks."""

    completed: int
    failed_as_expected: int
    unaccounted: list[str]
    retries: int
    postpones: int


@dataclass(frozen=True)
class Percentiles:
    """Three percentiles, in seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Timing:
    """The timing of the work; durations in seconds."""

    tasks: int
    seconds: float
    wait: Percentiles
    held: Percentiles
    run: Percentiles

    @property
    def tasks_per_second(self) -> float:
        """The rate from the first claim to the end of the last task."""
        return self.tasks / self.seconds if self.seconds else 0.0


def compare_outcomes(enqueued: Iterable[int]) -> Account:
    """Find all enqueued tasks in the table and compare their outcomes with the expected ones."""
    rows = {task.pk: task for task in Task.objects.all()}
    indexed = set(IndexedFile.objects.values_list("path", flat=True))
    completed = failed = 0
    unaccounted = []
    for pk in enqueued:
        task = rows.get(pk)
        if task is None:
            unaccounted.append(f"task {pk} is not in the table")
        elif task.status == Task.STATUS_FINISHED and _left_its_result(task, indexed):
            completed += 1
        elif task.status == Task.STATUS_ERROR and _is_expected_to_fail(task):
            failed += 1
        else:
            unaccounted.append(f"{task} {task.error_type or ''}: {task.error_message or 'no error'}")
    return Account(
        completed,
        failed,
        unaccounted,
        retries=sum(task.retries for task in rows.values()),
        postpones=sum(task.postpones for task in rows.values()),
    )


def take_times(tasks: Iterable[Task]) -> Timing:
    """Return the timing of tasks that have ended."""
    wait, held, claimed, finished = [], [], [], []
    for task in tasks:
        if task.claimed_at is None or task.finished_at is None:
            continue
        claimed.append(task.claimed_at)
        finished.append(task.finished_at)
        wait.append(_seconds(task.execute_after, task.claimed_at))
        held.append(_seconds(task.claimed_at, task.finished_at))
    seconds = _seconds(min(claimed), max(finished)) if claimed else 0.0
    run = list(IndexedFile.objects.values_list("seconds", flat=True))
    return Timing(len(claimed), seconds, percentiles(wait), percentiles(held), percentiles(run))


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the nearest values at 50, 95 and 99%, or zeros without values."""
    ordered = sorted(values) or [0.0]
    at = [ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (50, 95, 99)]
    return Percentiles(*at)


def _left_its_result(task: Task, indexed: set[str]) -> bool:
    """Return whether a completed task stored its result. Only indexed files are checked."""
    return task.processor_class != "IndexFile" or _path(task) in indexed


def _is_expected_to_fail(task: Task) -> bool:
    """Return whether a failure is expected, because parsing the file again shows that it is not Python."""
    is_syntax_error = (task.error_type or "").rpartition(".")[2] == SyntaxError.__name__
    return task.processor_class == "IndexFile" and is_syntax_error and not library.is_valid(_path(task))


def _path(task: Task) -> str:
    path: str = task.arguments["kwargs"]["path"]
    return path


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())
