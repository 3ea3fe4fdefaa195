"""How many tasks a worker gets at a time: one if they are long, a chunk if they are tiny.

No task should wait behind another while a worker is idle, and no worker should wait for the manager
between tiny tasks. So a worker gets about thirty milliseconds of expected work; a processor that was
never measured is expected to be long.
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
"""More than the time between two reports, so that a worker is fed before it has nothing left."""
CHUNK_AT_MOST: Final = 1000
LEAST_TASK_SECONDS: Final = 5e-6
"""The least that a run costs, even of a task that does nothing."""
STALE_SECONDS: Final = 0.020
"""How long a worker may run one task before the tasks behind it are recalled for an idle worker."""
SILENT_SECONDS: Final = 0.100
"""How long it may run one task before the tasks behind it are recalled although no worker is idle."""
CLAIMS_REMEMBERED: Final = 1000


class Pace:
    """How long the tasks of each processor take; recent runs count more."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self.mean: float | None = None
        """The seconds that a run of any processor takes; ``None`` before the first."""

    def learn(self, processor: str, runs: int, seconds: float) -> None:
        """Note that ``runs`` runs took ``seconds`` in all."""
        measured = max(LEAST_TASK_SECONDS, seconds / runs)
        weight = 1 - 0.8**runs
        self._seconds[processor] = _moved(self._seconds.get(processor), measured, weight)
        self.mean = _moved(self.mean, measured, weight)

    def known(self, processor: str) -> float | None:
        """Return the seconds that a run is expected to take, ``None`` if none was measured."""
        return self._seconds.get(processor)

    def of(self, processor: str) -> float:
        """Return the seconds that a run is expected to take."""
        return self._seconds.get(processor, TARGET_SECONDS)


def _moved(known: float | None, measured: float, weight: float) -> float:
    return measured if known is None else known + (measured - known) * weight


class ClaimTimes:
    """When each claim returned, by its token, so that a worker can tell how long a task was due."""

    def __init__(self) -> None:
        self._times: dict[int, float] = {}

    def note(self, rows: Sequence[TaskRow]) -> None:
        """Note that a claim has just returned; all its rows carry one token."""
        if rows:
            self._remember(rows[0][TOKEN], time.monotonic())

    def carry_over(self, before: TaskRow, row: TaskRow) -> None:
        """Have a task that got a new token while it was claimed keep the time of its claim."""
        if before[TOKEN] in self._times:
            self._remember(row[TOKEN], self._times[before[TOKEN]])

    def of(self, rows: Sequence[TaskRow]) -> dict[int, float]:
        """Return the monotonic times at which the claims of the rows returned, where known."""
        times = self._times
        return {token: times[token] for token in {row[TOKEN] for row in rows} if token in times}

    def _remember(self, token: int, claimed_at: float) -> None:
        self._times[token] = claimed_at
        if len(self._times) > CLAIMS_REMEMBERED:
            del self._times[next(iter(self._times))]  # the oldest


def chunks(
    workers: Iterable[WorkerProcess], buffer: Buffer, pace: Pace
) -> list[tuple[WorkerProcess, list[TaskRow]]]:
    """Take from the buffer what each worker should get now; idle workers first, then the least loaded."""
    hungry = [
        w for w in workers if w.takes_tasks and (not w.held or w.expected_seconds < REFILL_BELOW_SECONDS)
    ]
    hungry.sort(key=lambda worker: (bool(worker.held), worker.expected_seconds))
    taken = []
    for place, worker in enumerate(hungry):
        if not buffer:
            break
        # The remaining workers get their share, so that a small buffer keeps all of them busy.
        share = -(-len(buffer) // (len(hungry) - place))
        chunk = _chunk(worker, buffer, pace, min(share, CHUNK_AT_MOST))
        if chunk:
            taken.append((worker, chunk))
    return taken


def _chunk(worker: WorkerProcess, buffer: Buffer, pace: Pace, at_most: int) -> list[TaskRow]:
    if worker.tasks_left is not None:
        at_most = min(at_most, worker.tasks_left)
    chunk: list[TaskRow] = []
    while len(chunk) < at_most and (first := buffer.first()) is not None:
        seconds = pace.of(first[PROCESSOR])
        number = int((TARGET_SECONDS - worker.expected_seconds) / seconds)
        if number < 1 or seconds >= TARGET_SECONDS:
            if chunk or worker.held:
                break
            number = 1  # a long task is for a worker that has nothing else to do
        alike = buffer.take_alike(min(number, at_most - len(chunk)))
        worker.expect(seconds * len(alike))
        chunk += alike
    return chunk


def recall_stuck(
    workers: Iterable[WorkerProcess], presence: PresenceFile, now: float, patience: float
) -> float:
    """Recall tasks from the workers that hold more than one that takes long; return when to look again."""
    look_at = NEVER
    for worker in workers:
        if len(worker.held) > 1 and not worker.is_recalling:
            stale_at = max(presence.page(worker.slot).since, worker.active_at) + patience
            if stale_at <= now:
                worker.recall()
            else:
                look_at = min(look_at, stale_at)
    return look_at
