"""A worker as its manager sees it: the process, its pipe, and what it holds."""

import contextlib
import os
import signal
import time
from multiprocessing.process import BaseProcess
from operator import itemgetter
from typing import Any, Final

from django_partisan.engine.pipe import ManagerEnd
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.telemetry.events import WorkerSeen

STARTING: Final = "starting"
READY: Final = "ready"
STOPPING: Final = "stopping"
RETIRING: Final = "retiring"


_id = itemgetter(ID)


class WorkerProcess:
    """One worker process, from its start to its exit."""

    def __init__(
        self,
        slot: int,
        generation: int,
        process: BaseProcess,
        pipe: ManagerEnd,
        bell: int,
        tasks_left: int | None,
    ) -> None:
        self.slot = slot
        self.generation = generation
        self.process = process
        self.pid: int = process.pid or 0
        self.started_at = time.monotonic()
        self.pipe: ManagerEnd | None = pipe
        self._bell = bell
        self.exit_fd = _exit_descriptor(process)
        self.state = STARTING
        self.held: dict[int, TaskRow] = {}
        self.expected_seconds = 0.0
        self.tasks_left = tasks_left
        """How many more tasks it may be handed before it is recycled; ``None`` for any number."""
        self.heard_at = self.started_at
        """When it last was handed tasks or reported; monotonic."""
        self.recalling = False
        self.killed = False
        self.is_gone = False
        self.recycled = False
        self.peak_bytes: int | None = None

    @property
    def takes_tasks(self) -> bool:
        """True if it may be handed tasks."""
        return (
            self.state == READY
            and self.tasks_left != 0
            and not self.recalling
            and not self.is_gone
            and self.pipe is not None
        )

    @property
    def is_idle(self) -> bool:
        """True if it is ready and holds nothing."""
        return self.state == READY and not self.held

    def hold(self, rows: list[TaskRow]) -> None:
        """Note that it was handed tasks."""
        self.held.update(zip(map(_id, rows), rows, strict=True))
        self.heard_at = time.monotonic()
        if self.tasks_left is not None:
            self.tasks_left -= len(rows)

    def work_off(self, seconds: float) -> None:
        """Note that it did work that was expected to take ``seconds``."""
        self.heard_at = time.monotonic()
        if self.held:
            self.expected_seconds = max(0.0, self.expected_seconds - seconds)

    def let_go(self, ids: list[int]) -> list[TaskRow]:
        """Return the tasks of ``ids`` that it still held, and note that it holds them no more."""
        held = self.held
        pop = held.pop
        rows = [pop(task_id) for task_id in ids if task_id in held]
        if not held:
            self.expected_seconds = 0.0
        return rows

    def take_back(self, ids: list[int]) -> list[TaskRow]:
        """Return the tasks of ``ids``, which it has not begun, and note that it may be handed others."""
        rows = self.let_go(ids)
        self.recalling = False
        self.heard_at = time.monotonic()
        if self.tasks_left is not None:
            self.tasks_left += len(rows)
        return rows

    def recall(self) -> None:
        """Ask for the tasks that it has not begun; its answer comes as a message."""
        if not self.recalling:
            self.recalling = True
            with contextlib.suppress(BrokenPipeError):  # it is gone; what it held comes back with its exit
                os.write(self._bell, b"!")

    def kill(self) -> None:
        """End it at once."""
        if self.is_gone:
            return  # its id may be another process's by now
        self.killed = True
        with contextlib.suppress(ProcessLookupError):  # it went by itself; its exit is told all the same
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close what the manager holds of it."""
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
        os.close(self._bell)
        if self.exit_fd != self.process.sentinel:
            os.close(self.exit_fd)

    def seen(self, **more: Any) -> WorkerSeen:
        """Return how a snapshot shows it."""
        state = "starting" if self.state == STARTING else "busy" if self.held else "idle"
        return WorkerSeen(self.slot, self.generation, self.pid, state, **more)


def _exit_descriptor(process: BaseProcess) -> int:
    """Return a descriptor that becomes readable when the process is gone.

    The sentinel of a fork server's child also fires when the fork server is lost, which is no death
    of the worker; a pidfd does not.
    """
    if hasattr(os, "pidfd_open") and process.pid is not None:
        try:
            return os.pidfd_open(process.pid)
        except OSError:
            pass  # gone already, or a kernel without it: the sentinel tells
    return process.sentinel
