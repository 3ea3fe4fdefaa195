"""The worker processes of a manager: started, watched, replaced."""

import contextlib
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from django_partisan.engine import protocol
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager import worker_process as states
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.pipe import END, ManagerEnd, PipeError
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import (
    Flushed,
    Message,
    Ready,
    Report,
    Retiring,
    Returned,
    RunTasks,
    Stop,
    ToWorker,
)
from django_partisan.engine.task_ref import task_ref
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    REASON_ERROR,
    REASON_RECYCLED,
    REASON_SIGNAL,
    REASON_STOPPED,
    ErrorInfo,
    PipeBroken,
    WorkerExited,
    WorkerReady,
    WorkerStarted,
    WorkerStartFailed,
)

PAUSE_SECONDS: Final = 0.2
PAUSE_AT_MOST_SECONDS: Final = 10.0
"""The pause before a slot whose workers keep dying young is filled again doubles up to this."""
YOUNG_SECONDS: Final = 5.0


class PoolOwner(Protocol):
    """What the pool tells its manager."""

    def on_report(self, worker: WorkerProcess, report: Report) -> None:
        """Take note of what came of tasks."""

    def on_returned(self, worker: WorkerProcess, rows: list[TaskRow]) -> None:
        """Take back tasks that the worker has not begun."""

    def on_gone(self, worker: WorkerProcess, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        """Take back what a worker held when it ended: the task that it ran, and those not begun."""


class Pool:
    """Keep one worker in each slot until told to stop."""

    def __init__(
        self,
        owner: PoolOwner,
        selector: selectors.BaseSelector,
        starter: Spawner,
        presence: PresenceFile,
        spec_of: Callable[[int, int], WorkerSpec],
        slots: int,
    ) -> None:
        self._owner = owner
        self._selector = selector
        self._starter = starter
        self._presence = presence
        self._spec_of = spec_of
        self._generation = 0
        self._starts_at: dict[int, float] = dict.fromkeys(range(slots), 0.0)
        self._starting = 0
        self._deaths: dict[int, int] = dict.fromkeys(range(slots), 0)
        self._stopped = False
        self.queue = spec_of(0, 0).config.queue
        self.workers: list[WorkerProcess] = []

    @property
    def is_empty(self) -> bool:
        """True if no worker lives or is being started."""
        return not self.workers and not self._starting

    @property
    def nobody_ready(self) -> bool:
        """True if no worker would take a task now or after those it holds."""
        return not any(worker.state == states.READY for worker in self.workers)

    def held(self) -> list[TaskRow]:
        """Return the tasks that workers hold."""
        return [row for worker in self.workers for row in worker.held.values()]

    def turn(self, now: float) -> None:
        """Start workers for the slots whose time has come."""
        if self._stopped:
            return
        for slot, at in list(self._starts_at.items()):
            if at <= now:
                del self._starts_at[slot]
                self._start(slot)

    def next_at(self) -> float:
        """Return the monotonic time of the next start."""
        return min(self._starts_at.values(), default=float("inf")) if not self._stopped else float("inf")

    def hand_over(self, worker: WorkerProcess, rows: list[TaskRow], claimed_at: dict[int, float]) -> None:
        """Send tasks to a worker."""
        worker.hold(rows)
        self._send(worker, RunTasks(rows, claimed_at))

    def stop(self) -> None:
        """Have every worker end when it has nothing more to run; start no more."""
        self._stopped = True
        for worker in self.workers:
            worker.recall()
            self._tell_to_stop(worker)

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self.workers:
            worker.kill()

    def _start(self, slot: int) -> None:
        self._generation += 1
        self._starting += 1
        self._presence.clear(slot)
        spec = self._spec_of(slot, self._generation)
        self._starter.start(spec, lambda result: self._on_started(slot, result))

    def _on_started(self, slot: int, result: WorkerProcess | Exception) -> None:
        self._starting -= 1
        if isinstance(result, Exception):
            bus.emit(WorkerStartFailed, self.queue, slot, ErrorInfo.of(result))
            self._start_later(slot)
            return
        worker = result
        self.workers.append(worker)
        assert worker.pipe is not None
        self._selector.register(
            worker.pipe.fd, selectors.EVENT_READ, lambda mask: self._on_pipe(worker, mask)
        )
        self._selector.register(worker.exit_fd, selectors.EVENT_READ, lambda mask: self._on_exit(worker))
        bus.emit(WorkerStarted, self.queue, slot, worker.generation, worker.pid)
        if self._stopped:
            self._tell_to_stop(worker)

    def _start_later(self, slot: int) -> None:
        self._deaths[slot] += 1
        pause = min(PAUSE_SECONDS * 2 ** min(self._deaths[slot] - 1, 10), PAUSE_AT_MOST_SECONDS)
        self._starts_at[slot] = time.monotonic() + pause

    def _tell_to_stop(self, worker: WorkerProcess) -> None:
        if worker.state in (states.STARTING, states.READY):
            worker.state = states.STOPPING
            self._send(worker, Stop())

    def _send(self, worker: WorkerProcess, message: ToWorker) -> None:
        if worker.pipe is None:
            return
        try:
            worker.pipe.send(message)
        except PipeError:
            return  # its exit is told by its other descriptor, and takes care of what it held
        self._watch_pipe(worker.pipe)

    def _watch_pipe(self, pipe: ManagerEnd) -> None:
        """Wait for room in the pipe only while something is unsent."""
        key = self._selector.get_key(pipe.fd)
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if pipe.has_unsent else 0)
        if key.events != wanted:
            self._selector.modify(pipe.fd, wanted, key.data)

    def _on_pipe(self, worker: WorkerProcess, mask: int) -> None:
        if worker.pipe is None:
            return
        try:
            if mask & selectors.EVENT_WRITE:
                with contextlib.suppress(PipeError):  # what it sent before it went is still to be read
                    worker.pipe.flush()
                self._watch_pipe(worker.pipe)
            if mask & selectors.EVENT_READ:
                self._take(worker, worker.pipe.receive())
        except PipeError as broken:
            self._close_pipe(worker, str(broken))
            worker.kill()  # it speaks nonsense, or has closed its pipe and would settle by itself

    def _close_pipe(self, worker: WorkerProcess, reason: str) -> None:
        if worker.pipe is None:
            return
        if reason != END:
            bus.emit(PipeBroken, self.queue, worker.slot, reason)
        self._selector.unregister(worker.pipe.fd)
        worker.pipe.close()
        worker.pipe = None

    def _take(self, worker: WorkerProcess, messages: Iterable[Message]) -> None:
        for message in messages:
            match message:
                case Report():
                    self._owner.on_report(worker, message)
                case Returned(task_ids):
                    self._owner.on_returned(worker, worker.take_back(task_ids))
                case Ready(version, warnings):
                    self._on_ready(worker, version, warnings)
                case Retiring():
                    self._on_retiring(worker)
                case Flushed(telemetry, peak_bytes):
                    bus.absorb(worker.slot, telemetry)
                    worker.peak_bytes = peak_bytes
                case _:
                    raise PipeError(f"a worker sent {type(message).__name__}, which only managers send")

    def _on_ready(self, worker: WorkerProcess, version: int, warnings: list[str]) -> None:
        if version != protocol.VERSION:
            raise PipeError(f"the worker speaks protocol {version}, this manager {protocol.VERSION}")
        if worker.state == states.STARTING:
            worker.state = states.READY
        bus.emit(WorkerReady, self.queue, worker.slot, worker.generation, worker.pid, tuple(warnings))

    def _on_retiring(self, worker: WorkerProcess) -> None:
        """Fill the slot as soon as a worker has run its last task, while it still flushes."""
        worker.recycled = worker.state != states.STOPPING
        worker.state = states.RETIRING
        if worker.recycled:
            self._deaths[worker.slot] = 0
            self._starts_at[worker.slot] = 0.0

    def _on_exit(self, worker: WorkerProcess) -> None:
        self._selector.unregister(worker.exit_fd)
        worker.is_gone = True
        self._close_pipe(worker, self._take_rest(worker))
        self._starter.collect(worker, lambda code: self._on_exit_code(worker, code))

    def _take_rest(self, worker: WorkerProcess) -> str:
        """Take what a worker sent before it ended and nobody has read; return how its pipe ended."""
        try:
            while worker.pipe is not None:
                messages = worker.pipe.receive()
                if not messages:  # the rest is no whole message, or a child of a task keeps the pipe open
                    return worker.pipe.ending
                self._take(worker, messages)
        except PipeError as broken:
            return str(broken)
        return END

    def _on_exit_code(self, worker: WorkerProcess, code: int | None) -> None:
        self.workers.remove(worker)
        page = self._presence.page(worker.slot)
        begun = worker.held.pop(page.task_id, None) if page.task_id and not worker.recycled else None
        rest = list(worker.held.values())
        worker.held.clear()
        name = _signal_name(-code) if code is not None and code < 0 else None
        reason = _exit_reason(worker, code, self._stopped)
        task = None if begun is None else task_ref(begun, self.queue)
        bus.emit(
            WorkerExited,
            self.queue,
            worker.slot,
            worker.generation,
            worker.pid,
            code,
            name,
            reason,
            task,
            worker.peak_bytes,
        )
        if not worker.recycled and not self._stopped:
            self._replace(worker)
        worker.close()
        self._owner.on_gone(worker, begun, rest)

    def _replace(self, worker: WorkerProcess) -> None:
        if (
            time.monotonic() - worker.started_at < YOUNG_SECONDS
            and self._presence.page(worker.slot).begun == 0
        ):
            self._start_later(worker.slot)
        else:
            self._deaths[worker.slot] = 0
            self._starts_at[worker.slot] = 0.0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # most real-time signals have no name


def _exit_reason(worker: WorkerProcess, code: int | None, stopped: bool) -> str:
    if worker.recycled:
        return REASON_RECYCLED
    if (worker.killed and stopped) or (worker.state in (states.RETIRING, states.STOPPING) and code == 0):
        return REASON_STOPPED
    if worker.state == states.RETIRING and code is None:
        return REASON_STOPPED  # it had ended well, and the fork server that knew its exit code is lost
    if code is None or code < 0:
        return REASON_SIGNAL
    return REASON_ERROR
