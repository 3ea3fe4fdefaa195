"""Engine doubles (database thread, process, worker, starter), and harnesses for pool, settler and intake."""

import contextlib
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from django.db import Error, OperationalError

from django_partisan import __version__
from django_partisan.config.queues import QueueConfig, queue_config
from django_partisan.engine import protocol
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager.claim_call import ClaimCall
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.database_call import Call, Done, SubmittedCall
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.delayed_outcomes import Part
from django_partisan.engine.manager.dispatcher import Dispatcher
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.outage import ClaimOutage, Outage, SharedOutage
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.promoter import PROMOTE_AT_MOST, Promoter
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.reports import Reports
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.sharing import Sharing
from django_partisan.engine.manager.suspects import Suspects
from django_partisan.engine.manager.worker_process import ProcessHandle, WorkerProcess
from django_partisan.engine.outcome_writing import Kind, WriteResult
from django_partisan.engine.pipe import ManagerEnd, WorkerEnd
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.engine.protocol import Ready, Report
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import ID, QueueCheck, TaskRow
from django_partisan.sql.row_changes import Crash, RowChange


def error_with(sqlstate: str, kind: type[Error] = OperationalError) -> Error:
    """Return an error wrapped as Django wraps the driver's."""
    cause = Exception()
    cause.sqlstate = sqlstate  # type: ignore[attr-defined]
    error = kind(sqlstate)
    error.__cause__ = cause
    return error


AWAY: Final = OperationalError("the server closed the connection")
CANCELLED: Final = error_with("57014")
ALL_WRITTEN: Final = WriteResult([], [], [], [])
NOTHING_DUE: Final = QueueCheck(0, False, None)
MANAGER: Final = UUID(int=1)
NO_PID: Final = 2**22 + 1
"""A process id that is never in use: Linux assigns at most one less."""


def config_of(**values: Any) -> QueueConfig:
    """Return the settings of the default queue, with one worker by default."""
    return queue_config(**{"workers_count": 1, **values})


def spec_of(slot: int, generation: int) -> WorkerSpec:
    """Return the spec of a worker."""
    return WorkerSpec(config_of(workers_count=2), "", os.getpid(), None, 1.0, slot, generation)


def report(completed: list[int], **more: Any) -> Report:
    """Return a worker's report; fields not in ``more`` are empty."""
    empty = Report(completed, kept=[], changes=[], settled=[], claims_lost=[], measured={}, telemetry=[])
    return empty._replace(**more)


class FakeDatabaseThread(DatabaseThread):
    """A database thread that executes no calls: the test inspects each call and answers it."""

    needs_connection = False
    is_listening = True

    def __init__(self) -> None:
        self.calls: list[tuple[Call, Done]] = []
        self._submitted = deque()
        self._standing = None
        self.deliver = lambda call: call()

    def submit(self, call: Call, done: Done) -> None:
        self.stand_down()
        self._submitted.append(SubmittedCall(call, done))
        self.calls.append((call, done))

    @property
    def call(self) -> Any:
        """The oldest unanswered call."""
        return self.calls[0][0]

    @property
    def pending_call(self) -> str | None:
        """The function name of the oldest unanswered call, or ``None``."""
        if not self.calls:
            return None
        call = self.call
        if isinstance(call, ClaimCall):
            return "claim"
        return str(call.func.__name__ if isinstance(call, partial) else call.__name__)

    def answer(self, result: Any) -> None:
        """Answer the oldest unanswered call."""
        _, done = self.calls.pop(0)
        self._submitted.popleft()
        done(result)

    def notify(self) -> Any:
        """Begin the standing call, and return it; the test answers it like a submitted one."""
        standing = self._standing
        assert standing is not None
        assert standing.take()
        self.calls.append((standing.call, standing.done))
        return standing.call


class FakeProcess:
    """A process that ends, by its sentinel, when the test says so; its default pid belongs to no process."""

    def __init__(self, pid: int = NO_PID) -> None:
        self.pid = pid
        self.sentinel, self._alive = os.pipe()
        self.exitcode: int | None = None

    def end(self, code: int | None) -> None:
        self.exitcode = code
        os.close(self._alive)
        self._alive = -1

    def handle(self, pipe: socket.socket, bell: int) -> ProcessHandle:
        """Return the manager's handle of this process, whose sentinel the manager closes."""
        return ProcessHandle(self.pid, self.sentinel, ManagerEnd(pipe.detach()), bell)

    def close(self) -> None:
        if self._alive >= 0:
            os.close(self._alive)


class ManagedWorker(WorkerProcess):
    """The manager's view of a worker; records whether the manager killed it."""

    was_killed = False

    def kill(self) -> None:
        self.was_killed = True
        super().kill()


class FakeWorker:
    """Both ends of a worker: ``managed`` is the manager's view, the rest acts as the worker."""

    def __init__(self, slot: int = 0, generation: int = 1, tasks_left: int | None = None) -> None:
        ours, theirs = socket.socketpair()
        self.socket = theirs
        self.end = WorkerEnd(theirs.fileno())
        self.bell, ring = os.pipe()
        self.process = FakeProcess()
        self.managed = ManagedWorker(slot, generation, self.process.handle(ours, ring), tasks_left)

    def sends(self, *messages: Any) -> None:
        for message in messages:
            self.end.send(message)

    def is_ready(self) -> None:
        self.sends(Ready(protocol.VERSION, [], __version__))

    def was_rung(self) -> bool:
        """Return whether the manager has rung the bell since the last call."""
        os.set_blocking(self.bell, False)
        with contextlib.suppress(BlockingIOError):
            return bool(os.read(self.bell, 64))
        return False

    def exits(self, code: int | None) -> None:
        self.socket.close()
        self.process.end(code)

    def close(self, is_managed: bool = True) -> None:
        """Close both ends; the manager's end only if the manager has not closed it."""
        self.socket.close()
        os.close(self.bell)
        if is_managed:
            self.managed.close()
        self.process.close()


class FakeStarter:
    """Start fake workers at once; callbacks run later, in the loop, as with the real starter."""

    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.requested: list[WorkerSpec] = []
        self.fails: Exception | None = None
        self.has_cancelled_starts = False
        self.later: list[Callable[[], None]] = []
        self.collected: list[WorkerProcess] = []

    def start(self, spec: WorkerSpec, done: Callable[[WorkerProcess | Exception], None]) -> None:
        self.requested.append(spec)
        if self.fails is not None:
            error = self.fails
            self.later.append(lambda: done(error))
            return
        worker = FakeWorker(spec.slot, spec.generation, spec.config.tasks_per_worker_instance)
        self.workers.append(worker)
        self.later.append(lambda: done(worker.managed))

    def cancel_starts(self) -> None:
        self.has_cancelled_starts = True

    def collect(self, worker: WorkerProcess, done: Callable[[int | None], None]) -> None:
        [code] = [one.process.exitcode for one in self.workers if one.managed is worker]
        self.collected.append(worker)
        self.later.append(lambda: done(code))

    def deliver(self) -> None:
        calls, self.later = self.later, []
        for call in calls:
            call()


class PoolHarness:
    """A pool with a real selector, a real presence file, and fake workers."""

    def __init__(self, intake: Intake, reports: Reports, presence: PresenceFile) -> None:
        self.selector = selectors.DefaultSelector()
        self.starter = FakeStarter()
        self.presence = presence
        self.drains = 0
        starter = cast(Spawner, self.starter)
        self.pool = Pool(
            intake, reports, self.selector, starter, presence, spec_of(0, 0), self._on_code_replaced
        )

    def _on_code_replaced(self) -> None:
        self.drains += 1

    def turn(self, now: float | None = None) -> None:
        """Run the pool as the manager's loop does, until there is nothing left to do."""
        self.pool.turn(time.monotonic() if now is None else now)
        self.starter.deliver()
        while ready := self.selector.select(0):
            writable = [mask == selectors.EVENT_WRITE for _, mask in ready]
            for key, mask in ready:
                key.data(mask)
            self.starter.deliver()
            if all(writable):
                break

    def started(self) -> list[FakeWorker]:
        """Start a worker in every slot, and have each one report that it is ready."""
        self.turn()
        for worker in self.starter.workers:
            worker.is_ready()
        self.turn()
        return self.starter.workers

    def begins(self, worker: FakeWorker, task_id: int) -> WorkerPage:
        """Write to a worker's page that it has begun a task."""
        page = WorkerPage(self.presence.fd, worker.managed.slot)
        page.begin(task_id, time.monotonic())
        return page

    def close(self) -> None:
        self.starter.deliver()
        for worker in self.starter.workers:
            worker.close(is_managed=worker.managed not in self.starter.collected)
        self.selector.close()


class Batch(NamedTuple):
    """What a settler writes in one call, by kind."""

    completed: list[TaskRow]
    changes: list[tuple[TaskRow, RowChange]]
    released: list[TaskRow]
    crashed: Sequence[tuple[TaskRow, Crash]] = ()
    retried: Part | None = None
    again: bool = False

    @classmethod
    def of(cls, parts: list[Part]) -> "Batch":
        made: dict[Kind, Any] = {part.kind: part.entries for part in parts if not part.is_retry}
        return cls(
            [row for row, _ in made.get(Kind.COMPLETED, [])],
            made.get(Kind.CHANGED, []),
            [row for row, _ in made.get(Kind.RELEASED, [])],
            made.get(Kind.CRASHED, ()),
            next((part for part in parts if part.is_retry), None),
            any(part.again for part in parts),
        )

    @property
    def is_empty(self) -> bool:
        return self == Batch([], [], [])


class SettlerHarness:
    """A real settler whose database calls the test answers; writes follow each other at once by default."""

    def __init__(self, gather_seconds: float = -NEVER) -> None:
        self.thread = FakeDatabaseThread()
        self.requeued: list[float] = []
        self.pause = QueuePause()
        self.settler = Settler(
            config_of(),
            self.thread,
            Outage(SharedOutage("default")),
            self.requeued.append,
            lambda: MANAGER,
            self.pause,
            gather_seconds,
        )

    def written(self, later: float = 0.0) -> Batch:
        """Run one turn, ``later`` seconds from now; return the batch that is then being written."""
        self.settler.turn(time.monotonic() + later)
        return Batch.of(self._parts())

    def answer(self, result: Exception | None = None, **found: WriteResult) -> None:
        """Answer the write in progress: everything was written, except what ``found`` says for some kinds."""
        kinds = [part.kind for part in self._parts()]
        self.thread.answer(result or [found.get(kind.name.lower(), ALL_WRITTEN) for kind in kinds])

    def write(self, result: Exception | None = None, later: float = 0.0, **found: WriteResult) -> Batch:
        """Run one turn, and answer the next write; return its batch."""
        batch = self.written(later)
        self.answer(result, **found)
        return batch

    def _parts(self) -> list[Part]:
        return self.thread.call.keywords["parts"] if self.thread.calls else []


class PromoterHarness:
    """A real promoter whose database calls the test answers."""

    def __init__(self, **values: Any) -> None:
        self.chores = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.config = config_of(**{"sleep_delay_seconds": 3600, **values})
        self.processors = KnownProcessors([])
        self.promoter = Promoter(self.config, self.chores, self.outage, self.processors)

    def answers_check(self, result: Any = NOTHING_DUE, later: float = 0.0) -> None:
        """Run one turn, ``later`` seconds from now, and answer the promoter's next call."""
        self.promoter.turn(time.monotonic() + later)
        assert self.chores.call.keywords == {
            "queue": "default",
            "limit": PROMOTE_AT_MOST,
            "without": self.promoter.left_to_others,
        }
        self.chores.answer(result)

    def seconds_to_check(self) -> float:
        return self.promoter.next_at() - time.monotonic()


class IntakeHarness(PoolHarness):
    """The intake, the dispatcher and the suspects of a manager with two fake workers."""

    def __init__(self, presence: PresenceFile) -> None:
        config = config_of(min_queue_size=2, max_queue_size=10, max_crashes=3)
        self.drain = Drain(None, begun=lambda: None)
        self.outcomes = SettlerHarness()
        self.tokens = ClaimTokens()
        self.processors = KnownProcessors(["Letter"])
        self.pause = self.outcomes.pause
        self.intake = Intake(
            config, self.outcomes.settler, self.drain, self.tokens, self.processors, self.pause
        )
        reports = Reports("default", self.outcomes.settler, self.processors, self.intake)
        super().__init__(self.intake, reports, presence)
        self.may_start = True
        self.heartbeats_requested = 0
        self.sharing = Sharing(
            self.intake, self.pool, self.outcomes.settler, ask=self._note_request, longest_pause=4.0
        )
        self.dispatcher = Dispatcher(
            config,
            self.intake,
            self.pool,
            self.outcomes.settler,
            presence,
            self.sharing,
            may_start=lambda: self.may_start,
        )

        self.chores = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.suspects = Suspects(
            config, self.chores, self.outage, self.intake, self.pool, may_start=lambda: self.may_start
        )

    def _note_request(self) -> None:
        self.heartbeats_requested += 1

    @property
    def workers(self) -> list[FakeWorker]:
        return self.starter.workers

    def dispatched(self) -> list[list[int]]:
        """Run the dispatcher; return the task ids that each worker received."""
        self.suspects.turn(time.monotonic())
        self.dispatcher.turn(time.monotonic())
        came = [worker.end.receive_available() for worker in self.workers]
        return [[row[ID] for one in messages for row in getattr(one, "rows", [])] for messages in came]

    def dispatch_to(self, slot: int, *rows: TaskRow) -> FakeWorker:
        """Send tasks to one worker, bypassing the dispatcher; return the worker."""
        worker = self.workers[slot]
        self.pool.dispatch(worker.managed, list(rows), {})
        return worker

    def buffered(self) -> list[int]:
        return [row[ID] for row in self.intake.buffer.rows()]
