"""A worker as its manager sees it: the process, its pipe, and the tasks that it holds."""

import contextlib
import os
import signal
import time
from enum import Enum
from operator import itemgetter
from typing import Final, NamedTuple

from django_partisan.engine.interrupting import REASONS
from django_partisan.engine.pages import Page
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.engine.protocol import Interrupt
from django_partisan.engine.task_ref import task_ref
from django_partisan.outcomes import REASON_ERROR, REASON_RECYCLED, REASON_SIGNAL, REASON_STOPPED
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.telemetry.events.snapshot import WorkerSnapshot
from django_partisan.worker_name import worker_name

_id = itemgetter(ID)

RECALLED_SECONDS: Final = 1.0
"""How long a run is expected to take after the tasks behind it were recalled."""


class State(Enum):
    """The state of a worker."""

    STARTING = "is loading its code"
    READY = "can be sent tasks"
    STOPPING = "was asked to end"
    ENDING = "was asked to end and has run its last task"
    RECYCLING = "has run its maximum number of tasks and is ending by itself"


class ProcessHandle(NamedTuple):
    """A worker's process id, and the manager's descriptors for it."""

    pid: int
    exit_fd: int
    """Becomes readable when the process has ended."""
    pipe: ManagerEnd
    bell: int


class WorkerProcess:
    """One worker process, from its start to its exit; ``tasks_left`` is ``None`` without a limit."""

    def __init__(self, slot: int, generation: int, process: ProcessHandle, tasks_left: int | None) -> None:
        self.slot = slot
        self.generation = generation
        self.pid = process.pid
        self.name = worker_name(self.pid)
        self.started_at = time.monotonic()
        self.pipe: ManagerEnd | None = process.pipe
        self._bell = process.bell
        os.set_blocking(self._bell, False)
        self.exit_fd = process.exit_fd
        self.state = State.STARTING
        self.held: dict[int, TaskRow] = {}
        self.expected_seconds = 0.0
        self.tasks_left = tasks_left
        """How many more tasks it may be sent before it is recycled."""
        self.active_at = self.started_at
        """Monotonic time at which it last received tasks or reported."""
        self.retired_at: float | None = None
        """Monotonic time at which its last task ended."""
        self.is_recalling = False
        self._was_killed = False
        self.killed_for: Interrupt | None = None
        """The interruption that did not end its run, for which it was killed."""
        self.has_exited = False
        self.peak_bytes: int | None = None

    @property
    def takes_tasks(self) -> bool:
        """True if it may be sent tasks."""
        return (
            self.state is State.READY
            and self.tasks_left != 0
            and not self.is_recalling
            and not self.has_exited
            and self.pipe is not None
        )

    @property
    def waiting(self) -> int:
        """How many tasks it holds, without the one that it runs."""
        return max(len(self.held) - 1, 0)

    @property
    def is_recycled(self) -> bool:
        """True if it ends because of ``TASKS_PER_WORKER_INSTANCE``."""
        return self.state is State.RECYCLING

    def become_ready(self) -> None:
        """Record that it has loaded its code."""
        if self.state is State.STARTING:
            self.state = State.READY

    def begin_to_stop(self) -> bool:
        """Record that it is asked to end; return False if it was asked before or is ending anyway."""
        begins = self.state in (State.STARTING, State.READY)
        if begins:
            self.state = State.STOPPING
        return begins

    def retire(self) -> None:
        """Record that it has run its last task."""
        self.state = State.ENDING if self.state is State.STOPPING else State.RECYCLING
        self.retired_at = time.monotonic()

    def exit_reason(self, code: int | None, pool_is_stopped: bool) -> str:
        """Return the reason for its end; ``code`` is the exit code, ``None`` if unknown."""
        if self.is_recycled:
            return REASON_RECYCLED
        if self.killed_for is not None:
            return REASONS[self.killed_for.kind]
        was_asked = self.state in (State.STOPPING, State.ENDING)
        if (self._was_killed and pool_is_stopped) or (was_asked and code == 0):
            return REASON_STOPPED
        if self.state is State.ENDING and code is None:
            return REASON_STOPPED  # it ended normally, but the fork server that knew its exit code is lost
        return REASON_SIGNAL if code is None or code < 0 else REASON_ERROR

    def hold(self, rows: list[TaskRow]) -> None:
        """Record that it was sent tasks."""
        self.held.update(zip(map(_id, rows), rows, strict=True))
        self.active_at = time.monotonic()
        if self.tasks_left is not None:
            self.tasks_left -= len(rows)

    def add_expected(self, seconds: float) -> None:
        """Record that the tasks it is about to be sent are expected to take ``seconds``."""
        self.expected_seconds += seconds

    def subtract_expected(self, seconds: float) -> None:
        """Record that it finished work that was expected to take ``seconds``."""
        self.active_at = time.monotonic()
        if self.held:
            self.expected_seconds = max(0.0, self.expected_seconds - seconds)

    def remove_tasks(self, ids: list[int]) -> list[TaskRow]:
        """Remove the tasks with these ids from those that it holds; return the removed ones."""
        held = self.held
        pop = held.pop
        rows = [pop(task_id) for task_id in ids if task_id in held]
        if not held:
            self.expected_seconds = 0.0
        return rows

    def take_back(self, ids: list[int]) -> list[TaskRow]:
        """Take back tasks that it has not started; it is sent no others until its current run ends."""
        rows = self.remove_tasks(ids)
        self.is_recalling = False
        self.active_at = time.monotonic()
        if self.held:  # so that the same tasks are not sent to it again at once
            self.expected_seconds = max(self.expected_seconds, RECALLED_SECONDS)
        if self.tasks_left is not None:
            self.tasks_left += len(rows)
        return rows

    def take_all(self, begun_id: int) -> tuple[TaskRow | None, list[TaskRow]]:
        """Take all tasks from it: return the one that it had begun, if it holds it, and the others.

        A recycled worker ended after its last task, so it had begun none.
        """
        begun = None if self.is_recycled else self.held.pop(begun_id, None)
        rest = list(self.held.values())
        self.held.clear()
        return begun, rest

    def recall(self) -> None:
        """Ask it to return the tasks that it has not started, which it does with a message."""
        if not self.is_recalling:
            self.is_recalling = True
            self.ring()

    def ring(self) -> None:
        """Make it read its pipe while it runs a task; it also returns the tasks that it has not started."""
        # Either it has ended, and its exit returns its tasks, or it has not read the previous bytes yet.
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._bell, b"!")

    def note_peak(self, peak_bytes: int) -> None:
        """Record the peak memory use that it reported."""
        self.peak_bytes = peak_bytes

    def note_exit(self) -> None:
        """Record that its process has ended."""
        self.has_exited = True

    def kill(self) -> None:
        """Kill it."""
        if self.has_exited:
            return  # another process may have its process id by now
        self._was_killed = True
        with contextlib.suppress(ProcessLookupError):  # it has just ended; its exit is noticed anyway
            kill_process(self.pid, self.exit_fd)

    def kill_for(self, message: Interrupt) -> None:
        """Kill it, because its run did not end when it was interrupted with ``message``."""
        self.killed_for = message
        self.kill()

    def close_pipe(self) -> None:
        """Close the manager's end of its pipe."""
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None

    def close(self) -> None:
        """Close all descriptors that the manager holds for it."""
        self.close_pipe()
        os.close(self._bell)
        os.close(self.exit_fd)

    def snapshot(self, page: Page, queue: str, now: float) -> WorkerSnapshot:
        """Return its state for a snapshot, including what it wrote on its page."""
        state = "starting" if self.state is State.STARTING else "busy" if self.held else "idle"
        row = self.held.get(page.task_id)
        task = None if row is None else task_ref(row, queue)
        age = max(0.0, now - page.since) if page.task_id else 0.0
        return WorkerSnapshot(
            self.slot,
            self.generation,
            self.pid,
            state,
            task=task,
            run_age_seconds=age,
            busy_seconds=page.busy_seconds + age,
        )


def exit_signal(code: int | None) -> str | None:
    """Return the name of the signal that ended a process with this exit code, or ``None``."""
    if code is None or code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"  # most real-time signals have no name


def kill_process(pid: int, exit_fd: int) -> None:
    """Kill a process, by its descriptor if possible, because its id may be reused once it has ended."""
    try:
        signal.pidfd_send_signal(exit_fd, signal.SIGKILL)
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):  # not Linux, or the descriptor is a sentinel
        os.kill(pid, signal.SIGKILL)


def exit_descriptor(pid: int, sentinel: int) -> int:
    """Return a descriptor that becomes readable when a process has ended.

    ``sentinel`` is the read end of a pipe whose write end only this process has. It is used, as a duplicate,
    where no descriptor of a process can be had: on macOS and on old kernels.
    """
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # the kernel is too old, or the process has already been reaped
            return os.pidfd_open(pid)
    return os.dup(sentinel)
