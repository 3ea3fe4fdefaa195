"""Decide how many tasks a worker gets at a time: one if they are long, a chunk if they are short.

No task should wait behind another while a worker is idle, and no worker should wait for the manager
between short tasks. So a worker gets about thirty milliseconds of expected work. Tasks of a processor that
was never measured are expected to be long.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Final

from django_partisan.engine.manager.buffer import Buffer
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.presence import PresenceFile
from django_partisan.sql.claiming import PROCESSOR, TOKEN, TaskRow

TARGET_SECONDS: Final = 0.030
REFILL_BELOW_SECONDS: Final = 0.018
"""A worker with less expected work than this gets more tasks.

It is longer than the interval between two reports, so that a worker does not run out of tasks.
"""
CHUNK_AT_MOST: Final = 1000
LEAST_TASK_SECONDS: Final = 5e-6
"""Minimum duration of a run, even if the task does nothing."""
STALE_SECONDS: Final = 0.020
"""Duration of a run after which the tasks behind it are recalled if another worker is idle."""
SILENT_SECONDS: Final = 0.100
"""Duration of a run after which the tasks behind it are recalled even if no worker is idle."""
CLAIMS_REMEMBERED: Final = 1000


class RunTimes:
    """The average duration of runs of each processor, weighted toward recent runs."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self.mean: float | None = None
        """Average seconds of a run, whatever its processor; ``None`` before the first run."""

    def record(self, processor: str, runs: int, seconds: float) -> None:
        """Record that ``runs`` runs took ``seconds`` in total."""
        measured = max(LEAST_TASK_SECONDS, seconds / runs)
        weight = 1 - 0.8**runs
        self._seconds[processor] = _moved(self._seconds.get(processor), measured, weight)
        self.mean = _moved(self.mean, measured, weight)

    def measured(self, processor: str) -> float | None:
        """Return the expected seconds of a run; ``None`` if no run was measured."""
        return self._seconds.get(processor)

    def expected(self, processor: str) -> float:
        """Return the expected seconds of a run; ``TARGET_SECONDS`` if no run was measured."""
        return self._seconds.get(processor, TARGET_SECONDS)


def _moved(known: float | None, measured: float, weight: float) -> float:
    return measured if known is None else known + (measured - known) * weight


class ClaimTimes:
    """When each claim returned, by token; workers need it to compute how long a task had been due."""

    def __init__(self) -> None:
        self._times: dict[int, float] = {}

    def note(self, rows: Sequence[TaskRow]) -> None:
        """Record that a claim has just returned; all its rows have the same token."""
        if rows:
            self._record(rows[0][TOKEN], time.monotonic())

    def carry_over(self, before: TaskRow, row: TaskRow) -> None:
        """Keep the claim time of a task whose claim continues under a new token."""
        if before[TOKEN] in self._times:
            self._record(row[TOKEN], self._times[before[TOKEN]])

    def of(self, rows: Sequence[TaskRow]) -> dict[int, float]:
        """Return the monotonic times at which the claims of the rows returned, by token, where known."""
        times = self._times
        return {token: times[token] for token in {row[TOKEN] for row in rows} if token in times}

    def _record(self, token: int, claimed_at: float) -> None:
        self._times[token] = claimed_at
        if len(self._times) > CLAIMS_REMEMBERED:
            del self._times[next(iter(self._times))]  # the oldest


def chunks(
    workers: Iterable[WorkerProcess], buffer: Buffer, run_times: RunTimes
) -> list[tuple[WorkerProcess, list[TaskRow]]]:
    """Take from the buffer the tasks to send to each worker: idle workers first, then the least loaded."""
    hungry = [
        w for w in workers if w.takes_tasks and (not w.held or w.expected_seconds < REFILL_BELOW_SECONDS)
    ]
    hungry.sort(key=lambda worker: (bool(worker.held), worker.expected_seconds))
    taken = []
    for place, worker in enumerate(hungry):
        if not buffer:
            break
        # Leave the remaining workers their share, so that a small buffer keeps all of them busy.
        share = -(-len(buffer) // (len(hungry) - place))
        chunk = _chunk(worker, buffer, run_times, min(share, CHUNK_AT_MOST))
        if chunk:
            taken.append((worker, chunk))
    return taken


def _chunk(worker: WorkerProcess, buffer: Buffer, run_times: RunTimes, at_most: int) -> list[TaskRow]:
    if worker.tasks_left is not None:
        at_most = min(at_most, worker.tasks_left)
    chunk: list[TaskRow] = []
    while len(chunk) < at_most and (first := buffer.first()) is not None:
        seconds = run_times.expected(first[PROCESSOR])
        number = int((TARGET_SECONDS - worker.expected_seconds) / seconds)
        if number < 1 or seconds >= TARGET_SECONDS:
            if chunk or worker.held:
                break
            number = 1  # a long task goes only to a worker that holds no other
        alike = buffer.take_same_processor(min(number, at_most - len(chunk)))
        worker.add_expected(seconds * len(alike))
        chunk += alike
    return chunk


def recall_stuck(
    workers: Iterable[WorkerProcess], presence: PresenceFile, now: float, longest_seconds: float
) -> float:
    """Recall the tasks behind runs longer than ``longest_seconds``; return when to check again."""
    check_at = NEVER
    for worker in workers:
        if len(worker.held) > 1 and not worker.is_recalling:
            stale_at = max(presence.page(worker.slot).since, worker.active_at) + longest_seconds
            if stale_at <= now:
                worker.recall()
            else:
                check_at = min(check_at, stale_at)
    return check_at
