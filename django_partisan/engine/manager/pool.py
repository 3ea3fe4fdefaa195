"""Start a worker in each slot, receive its messages, and replace it when it ends."""

import contextlib
import selectors
import time
from collections.abc import Callable, Iterable
from typing import Final

from django_partisan import __version__
from django_partisan.engine import protocol
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.reports import Reports
from django_partisan.engine.manager.restarts import Restarts
from django_partisan.engine.manager.worker_process import State, WorkerProcess, exit_signal
from django_partisan.engine.pipe import END, ManagerEnd, PipeError
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import (
    Flushed,
    Message,
    Ready,
    Registered,
    Report,
    Retiring,
    Returned,
    RunTasks,
    Stop,
    ToWorker,
)
from django_partisan.engine.task_ref import lost_run, task_ref
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import TOKEN, TaskRow
from django_partisan.sql.history import EndedRun
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import CodeReplaced
from django_partisan.telemetry.events.snapshot import WorkerSnapshot
from django_partisan.telemetry.events.telemetry import PipeBroken
from django_partisan.telemetry.events.values import ErrorInfo
from django_partisan.telemetry.events.workers import (
    WorkerExited,
    WorkerReady,
    WorkerStarted,
    WorkerStartFailed,
)

YOUNG_SECONDS: Final = 5.0


class Pool(Component):
    """The component that keeps one worker in each slot until stopped."""

    def __init__(
        self,
        intake: Intake,
        reports: Reports,
        selector: selectors.BaseSelector,
        spawner: Spawner,
        presence: PresenceFile,
        spec: WorkerSpec,
        on_code_replaced: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._reports = reports
        self._selector = selector
        self._spawner = spawner
        self._presence = presence
        self._spec = spec
        self._on_code_replaced = on_code_replaced
        self.is_outdated = False
        """True once a worker of another version of the library has started."""
        self._queue = spec.config.queue
        self._generation = 0
        self._restarts = Restarts(spec.config.workers_count)
        self._starting = 0
        self.workers: list[WorkerProcess] = []
        self.reserved: WorkerProcess | None = None
        """The worker that gets no tasks for now, so that it becomes idle for a task that must run alone."""
        self.ending_seconds = 0.0
        """Seconds that the last worker took to exit after its last task."""

    @property
    def is_idle(self) -> bool:
        """True if no worker holds a task; after ``stop()``, if no worker is alive or being started."""
        if self.is_stopped:
            return self.is_empty
        return not any(worker.held for worker in self.workers)

    @property
    def is_empty(self) -> bool:
        """True if no worker is alive or being started."""
        return not self.workers and not self._starting

    def held(self) -> list[TaskRow]:
        """Return the tasks that workers hold."""
        return [row for worker in self.workers for row in worker.held.values()]

    def snapshots(self, now: float) -> tuple[WorkerSnapshot, ...]:
        """Return the state of the workers that have not retired, for a snapshot."""
        return tuple(
            worker.snapshot(self._presence.page(worker.slot), self._queue, now)
            for worker in self.workers
            if worker.state not in (State.ENDING, State.RECYCLING)
        )

    def turn(self, now: float) -> None:
        """Start a worker in each slot that is due."""
        if not self.is_stopped:
            for slot in self._restarts.take_due(now):
                self._start(slot)

    def next_at(self) -> float:
        """Return the monotonic time of the next start."""
        return NEVER if self.is_stopped else self._restarts.next_at()

    def dispatch(self, worker: WorkerProcess, rows: list[TaskRow], claim_times: dict[int, float]) -> None:
        """Send tasks to a worker."""
        worker.hold(rows)
        self.send(worker, RunTasks(rows, claim_times, self._presence.epoch))

    def stop(self) -> None:
        """Ask every worker to end after its current task; start no more."""
        super().stop()
        for worker in self.workers:
            worker.recall()
            self._ask_to_stop(worker)
        self._cancel_starts()

    def kill(self) -> None:
        """Kill every worker."""
        for worker in self.workers:
            worker.kill()

    def _start(self, slot: int) -> None:
        self._generation += 1
        self._starting += 1
        self._presence.clear(slot)
        spec = self._spec._replace(slot=slot, generation=self._generation)
        self._spawner.start(spec, lambda result: self._on_started(slot, result))

    def _on_started(self, slot: int, result: WorkerProcess | Exception) -> None:
        self._starting -= 1
        if isinstance(result, Exception):
            if self.is_stopped:
                return
            bus.emit(WorkerStartFailed, self._queue, slot, ErrorInfo.of(result))
            self._restarts.restart_later(slot)
            return
        worker = result
        self.workers.append(worker)
        assert worker.pipe is not None
        self._selector.register(
            worker.pipe.fd, selectors.EVENT_READ, lambda mask: self._on_pipe(worker, mask)
        )
        self._selector.register(worker.exit_fd, selectors.EVENT_READ, lambda mask: self._on_exit(worker))
        bus.emit(WorkerStarted, self._queue, slot, worker.generation, worker.pid)
        if self.is_stopped:
            self._ask_to_stop(worker)

    def _cancel_starts(self) -> None:
        """If stopped, do not wait for starts without live workers: the fork server may be loading much code.

        The exit codes of workers that have ended would wait for the starts, too.
        """
        if self.is_stopped and self._starting and all(worker.has_exited for worker in self.workers):
            self._spawner.cancel_starts()

    def _ask_to_stop(self, worker: WorkerProcess) -> None:
        if worker.begin_to_stop():
            self.send(worker, Stop())

    def send(self, worker: WorkerProcess, message: ToWorker) -> None:
        """Send a message to a worker, unless it has ended."""
        if worker.pipe is None:
            return
        try:
            worker.pipe.send(message)
        except PipeError:
            return  # its exit descriptor reports the end, which handles what it held
        self._watch_pipe(worker.pipe)

    def _watch_pipe(self, pipe: ManagerEnd) -> None:
        """Watch for room in the pipe only while something is unsent."""
        key = self._selector.get_key(pipe.fd)
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if pipe.has_unsent else 0)
        if key.events != wanted:
            self._selector.modify(pipe.fd, wanted, key.data)

    def _on_pipe(self, worker: WorkerProcess, mask: int) -> None:
        if worker.pipe is None:
            return
        try:
            if mask & selectors.EVENT_WRITE:
                with contextlib.suppress(PipeError):  # what it sent before it ended must still be read
                    worker.pipe.flush()
                self._watch_pipe(worker.pipe)
            if mask & selectors.EVENT_READ:
                self._take(worker, worker.pipe.receive())
        except PipeError as broken:
            self._close_pipe(worker, str(broken))
            worker.kill()  # it sent invalid data, or closed its pipe and would settle by itself

    def _close_pipe(self, worker: WorkerProcess, reason: str) -> None:
        if worker.pipe is None:
            return
        if reason != END:
            bus.emit(PipeBroken, self._queue, worker.slot, reason)
        self._selector.unregister(worker.pipe.fd)
        worker.close_pipe()

    def _take(self, worker: WorkerProcess, messages: Iterable[Message]) -> None:
        for message in messages:
            match message:
                case Report():
                    self._reports.receive(worker, message)
                case Returned(task_ids):
                    self._intake.on_returned(worker.take_back(task_ids))
                case Ready():
                    self._on_ready(worker, message)
                case Registered(definitions):
                    self._intake.on_registered(definitions)
                case Retiring():  # refill the slot at once, while the worker still flushes
                    worker.retire()
                    self._restarts.restart_now(worker.slot)
                case Flushed(telemetry, peak_bytes):
                    bus.absorb(worker.slot, telemetry)
                    worker.note_peak(peak_bytes)
                case _:
                    raise PipeError(f"a worker sent {type(message).__name__}, which only managers send")

    def _on_ready(self, worker: WorkerProcess, ready: Ready) -> None:
        if (ready.protocol, ready.library) != (protocol.VERSION, __version__):
            self._drain_outdated(worker, ready)
            return
        worker.become_ready()
        bus.emit(WorkerReady, self._queue, worker.slot, worker.generation, worker.pid, tuple(ready.warnings))

    def _drain_outdated(self, worker: WorkerProcess, ready: Ready) -> None:
        """Drain: the installed library was replaced, so new workers do not understand this manager."""
        if not self.is_outdated:
            self.is_outdated = True
            versions = (
                ready.library or "of an earlier version",
                ready.protocol,
                __version__,
                protocol.VERSION,
            )
            bus.emit(CodeReplaced, self._queue, *versions)
            self._on_code_replaced()
        worker.kill()

    def _on_exit(self, worker: WorkerProcess) -> None:
        self._selector.unregister(worker.exit_fd)
        worker.note_exit()
        self._close_pipe(worker, self._take_rest(worker))
        self._spawner.collect(worker, lambda code: self._on_exit_code(worker, code))
        self._cancel_starts()

    def _take_rest(self, worker: WorkerProcess) -> str:
        """Read what a worker sent before it ended; return how its pipe ended."""
        try:
            while worker.pipe is not None:
                messages = worker.pipe.receive()
                if not messages:  # the rest is incomplete, or a child process of a task keeps the pipe open
                    return worker.pipe.frames.ending
                self._take(worker, messages)
        except PipeError as broken:
            return str(broken)
        return END

    def _on_exit_code(self, worker: WorkerProcess, code: int | None) -> None:
        self.workers.remove(worker)
        self.ending_seconds = 0.0 if worker.retired_at is None else time.monotonic() - worker.retired_at
        page = self._presence.page(worker.slot)
        killed_for = worker.killed_for
        # If that run ended at the last moment, the worker saw the mark, and the task begun next did not run.
        has_ended = killed_for is not None and page.begun != killed_for.run_number
        begun, rest = worker.take_all(0 if has_ended else page.task_id)
        lost = None
        if begun is not None:
            claimed = self._intake.claim_times.of([begun]).get(begun[TOKEN])
            lost = lost_run(begun, worker.slot, worker.generation, page.since, claimed)
        bus.emit(
            WorkerExited,
            self._queue,
            worker.slot,
            worker.generation,
            worker.pid,
            code,
            exit_signal(code),
            worker.exit_reason(code, self.is_stopped),
            None if begun is None else task_ref(begun, self._queue),
            worker.peak_bytes,
        )
        if not worker.is_recycled:
            if page.begun or time.monotonic() - worker.started_at >= YOUNG_SECONDS:
                self._restarts.restart_now(worker.slot)
            else:
                self._restarts.restart_later(worker.slot)
        worker.close()
        run = EndedRun(page.since, time.monotonic() - page.since, worker.name)
        if begun is not None and lost is not None and killed_for is not None:
            self._intake.on_run_killed(begun, killed_for, lost, run)
            begun = None
        self._intake.on_exited(begun, rest, lost, run)
        self._cancel_starts()
