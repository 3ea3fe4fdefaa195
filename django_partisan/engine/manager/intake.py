"""Put tasks into the buffer: newly claimed ones, those of dead managers, and those that workers return.

Each task that this manager holds is in the buffer, held by a worker, or waiting to be settled; or it waits
until an earlier run of it, whose claim was lost, has ended here. While the manager drains or its queue is
paused, incoming tasks are released.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.expiring import with_deadlines
from django_partisan.engine.manager.buffer import Buffer
from django_partisan.engine.manager.cancel_requests import CancelRequests
from django_partisan.engine.manager.chunking import ClaimTimes, RunTimes
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.expirations import Expirations
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.late_processors import LateProcessors
from django_partisan.engine.manager.lost_runs import LostRuns
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.protocol import Interrupt
from django_partisan.engine.task_ref import lost_elsewhere, task_ref
from django_partisan.outcomes import REASON_MANAGER_LOST, REASON_STOPPED, REASON_UNREGISTERED
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, PROCESSOR, TAKEOVERS, TOKEN, TaskRow
from django_partisan.sql.history import UNKNOWN_RUN, EndedRun
from django_partisan.sql.rescuing import RescuedTask
from django_partisan.sql.row_changes import RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.tasks import TaskRescued
from django_partisan.telemetry.events.values import LostRun

_id = itemgetter(ID)
_takeovers = itemgetter(TAKEOVERS)


class Intake:
    """The entry point for tasks: it adds them to the buffer. Outcomes go to the settler, through ``Reports``.

    A task whose worker or manager died runs again, unless more than ``MAX_CRASHES`` workers died while they
    ran it. A task that no worker here can run is held.
    """

    def __init__(
        self,
        config: QueueConfig,
        settler: Settler,
        drain: Drain,
        tokens: ClaimTokens,
        processors: KnownProcessors,
        pause: QueuePause,
    ) -> None:
        self._config = config
        self._settler = settler
        self._drain = drain
        self._processors = processors
        self._late = LateProcessors(config.queue, processors)
        self._pause = pause
        self._revoked: set[int] = set()
        """Ids of the tasks that workers hold under a claim that this manager has lost."""
        self._waiting: dict[int, TaskRow] = {}
        """Tasks that this manager has claimed again and that wait for a revoked run to end, by id."""
        self._lost_runs = LostRuns(config, settler, drain, tokens, self._run_again)
        self.buffer = Buffer()
        self.cancel_requests = CancelRequests(config.queue)
        self.run_times = RunTimes()
        self.claim_times = ClaimTimes()
        self._expirations = Expirations(config.queue, settler)

    def unsettled(self, held: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks of this manager that have no outcome yet; ``held`` are those that workers hold."""
        ours = [row for row in held if row[ID] not in self._revoked]
        return [*self.buffer.rows(), *self.buffer.suspects, *self._waiting.values(), *ours]

    def all_tasks(self, held: list[TaskRow]) -> list[TaskRow]:
        """Return all tasks of this manager; ``held`` are those that workers hold."""
        return self.unsettled(held) + self._settler.rows()

    def all_ids(self, held: list[TaskRow]) -> list[int]:
        """Return the ids of ``all_tasks()``."""
        return [row[ID] for row in self.all_tasks(held)]

    def drop_forgotten(self, claimed: list[TaskRow], workers: Sequence[WorkerProcess]) -> None:
        """Drop older claims of ``claimed`` tasks that are still held here: PostgreSQL forgot them in a crash.

        A run under the older claim may finish; then the task runs again.
        """
        ids = set(map(_id, claimed))
        is_new = ids.isdisjoint(map(_id, (*self.buffer.rows(), *self.buffer.suspects)))
        if not is_new or any(not ids.isdisjoint(worker.held) for worker in workers):
            self.revoke(ids, workers)

    def revoke(self, ids: set[int], workers: Iterable[WorkerProcess]) -> int:
        """Drop the tasks with these ids, because their claims are lost.

        Return how many tasks the buffer and ``workers`` held in all.
        """
        held = len(self.buffer)
        self.buffer.drop(ids)
        for task_id in ids.intersection(self._waiting):
            del self._waiting[task_id]
        for worker in workers:
            held += len(worker.held)
            lost = ids.intersection(worker.held)
            if lost:
                self._revoked |= lost
                worker.recall()
        return held

    def on_claimed(self, rows: list[TaskRow], since: float | None = None) -> None:
        """Add claimed tasks, which all carry the same token.

        ``since`` is when the claim was sent, by the boot clock; the default is now.
        """
        self.claim_times.note(rows)
        rows = with_deadlines(rows, since)
        self._store(self._set_aside(rows), self.buffer.add)

    def on_rescued(
        self,
        rescued: Sequence[RescuedTask],
        since: float | None = None,
        reason: str = REASON_MANAGER_LOST,
    ) -> None:
        """Add tasks of a dead manager or worker; except for suspects, they run before all others.

        ``since`` is as in ``on_claimed()``.
        """
        claimed = [task.row for task in rescued]
        self.claim_times.note(claimed)
        for (previous, _, ran_seconds), row in zip(rescued, with_deadlines(claimed, since), strict=True):
            lost = lost_elsewhere(ran_seconds)
            task = task_ref(row, self._config.queue)
            if lost is not None:  # the row already counts the lost run
                task = task._replace(attempt=row[ATTEMPTS])
            if row[CRASHES] > self._config.max_crashes:
                self._lost_runs.fail(row, task, 0, lost)
            else:
                manager = None if previous is None else str(previous)
                bus.emit(TaskRescued, task, reason, manager, lost)
                self._store(self._set_aside([row]), self.buffer.add_rescued)

    def on_registered(self, definitions: Iterable[tuple[Any, ...]]) -> None:
        """Register processors that only a worker has; each item holds the fields of a ``PlainDefinition``."""
        self._late.register(definitions)

    def on_returned(self, rows: list[TaskRow]) -> None:
        """Put tasks that a worker has not started back into the buffer."""
        self._store(self.still_claimed(rows), self.buffer.put_back)

    def on_exited(
        self, begun: TaskRow | None, rest: list[TaskRow], lost: LostRun | None, run: EndedRun = UNKNOWN_RUN
    ) -> None:
        """Take back the tasks of a worker that ended: ``begun``, which was running, and ``rest``, unstarted.

        ``lost`` describes the run that ended with the worker for events, and ``run`` for the history.
        """
        rest = self.still_claimed(rest)
        for row in self.still_claimed([] if begun is None else [begun]):
            if self._drain.is_forced:  # a forced stop counts no attempt
                bus.emit(TaskRescued, task_ref(row, self._config.queue), REASON_STOPPED, None, lost)
                self._settler.release_stopped(self._cancel([row]))
            else:
                self._lost_runs.crashed(row, lost, run)
        self._store(rest, self.buffer.put_back)

    def on_run_killed(self, row: TaskRow, message: Interrupt, lost: LostRun, run: EndedRun) -> None:
        """Settle a task whose worker was killed because its run did not end when it was interrupted."""
        for one in self.still_claimed([row]):
            self._lost_runs.killed(one, message, lost, run)

    def still_claimed(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks whose claim is still valid.

        The runs of the others, whose claims were lost, have ended. If this manager has claimed such a task
        again, the new claim goes into the buffer now.
        """
        if not self._revoked:
            return rows
        ended = self._revoked.intersection(row[ID] for row in rows)
        self._revoked -= ended
        waited = [self._waiting.pop(task_id) for task_id in sorted(ended) if task_id in self._waiting]
        self._store(waited, self.buffer.put_back)
        return [row for row in rows if row[ID] not in ended]

    def hold(self, rows: list[TaskRow]) -> None:
        """Hold tasks that no worker here can run; release those that other managers can run."""
        left = set(self._processors.left_to_others)
        self._settler.release([row for row in rows if row[PROCESSOR] in left])
        for row in rows:
            if row[PROCESSOR] not in left:
                self._settler.settle(row, RowChange.hold(row[ID], row[TOKEN], REASON_UNREGISTERED))
                self._processors.note_held(row)

    def _run_again(self, before: TaskRow, row: TaskRow) -> None:
        """Add a task whose crash was counted; carry over to its new token what is known of its claim."""
        self.claim_times.carry_over(before, row)
        self.cancel_requests.carry_over(before, row)
        self._store([row], self.buffer.add_rescued)

    def _store(self, rows: list[TaskRow], add: Callable[[list[TaskRow]], None]) -> None:
        """Pass tasks to ``add``, except suspects; release them if the manager drains or the queue is paused.

        Tasks that are to be cancelled or have expired are ended; those that cannot run here are held.
        """
        if self.cancel_requests:
            rows = self._cancel(rows)
        if self._drain.is_on or self._pause.is_on:
            self._settler.release(rows)
            return
        rows = self._expirations.end_expired(rows)
        if self._processors.unknown:
            rows, others = self._processors.split(rows)
            self.hold(others)
        if any(map(_takeovers, rows)):
            self.buffer.add_suspects([row for row in rows if row[TAKEOVERS]])
            rows = [row for row in rows if not row[TAKEOVERS]]
        add(rows)

    def cancel_unstarted(self) -> None:
        """End the tasks that have a cancel request and that no worker holds."""
        rows = [*self.buffer.rows(), *self.buffer.suspects, *self._waiting.values()]
        ids = {row[ID] for row in rows}.difference(row[ID] for row in self._cancel(rows))
        self.buffer.drop(ids)
        for task_id in ids.intersection(self._waiting):
            del self._waiting[task_id]

    def _cancel(self, rows: list[TaskRow]) -> list[TaskRow]:
        """End the tasks that have a cancel request; return the others."""
        others, requested = self.cancel_requests.split(rows)
        for row in requested:
            self._settler.settle(row, self.cancel_requests.end(row))
        return others

    def _set_aside(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks that may run now; a task waits while a revoked run of it still goes on here."""
        if not self._revoked:
            return rows
        self._waiting.update((row[ID], row) for row in rows if row[ID] in self._revoked)
        return [row for row in rows if row[ID] not in self._revoked]
