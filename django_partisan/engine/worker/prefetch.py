"""Tasks that a worker has received and not started, and how its manager gets them back.

The bell is a second pipe: the manager rings to recall the tasks, and its end shows that the manager is dead.

| thread | does what |
|---|---|
| main | takes the next task from the left; waits for messages when there is none |
| ``partisan-control`` | when the bell rings, returns all tasks, from the right, also while one runs |

Both ends of a deque are safe, so starting a task takes no lock. ``_reading`` is held by the thread
that reads the pipe.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from django_partisan.engine.pipe import PipeError, WorkerEnd
from django_partisan.engine.protocol import Interrupt, LogStacks, Message, RunTasks, Stop
from django_partisan.sql.claiming import ID, TaskRow


class PrefetchedTasks:
    """Receive messages from the manager; hold tasks until they start or are returned.

    ``send_back`` is called with the ids of tasks to return, mostly in the control thread; it may raise
    ``PipeError``. ``manager_lost`` is called in the control thread when the manager is dead, and may take
    as long as it likes. ``interrupt`` gets what is to be interrupted, ``log_stacks`` is called on demand.
    """

    def __init__(
        self,
        pipe: WorkerEnd,
        bell: int,
        send_back: Callable[[list[int]], None],
        manager_lost: Callable[[], None],
        interrupt: Callable[[Interrupt], None],
        log_stacks: Callable[[], None],
    ) -> None:
        self._pipe = pipe
        self._bell = bell
        self._send_back = send_back
        self._manager_lost = manager_lost
        self._interrupt = interrupt
        self._log_stacks = log_stacks
        self._tasks: deque[TaskRow] = deque()
        # What nobody took back, because the manager is dead; the main thread does not start it.
        self._unreturned: list[TaskRow] = []
        self._reading = threading.Lock()
        self._lost = select.poll()
        self._lost.register(pipe.fd, select.POLLIN)  # macOS reports no end without it
        # Monotonic times of the claims that the tasks came with, by token.
        self.claim_times: dict[int, float] = {}
        self._epoch = 0
        self.stopping = False

    def start(self) -> None:
        """Listen to the bell from now on."""
        threading.Thread(target=self._listen, name="partisan-control", daemon=True).start()

    def next(self) -> TaskRow | None:
        """Return the next task to start, or ``None`` if there is none."""
        try:
            return self._tasks.popleft()
        except IndexError:
            return None

    def wait(self, timeout: float, may_start: bool = True) -> bool:
        """Wait for a message; return False if none came. Raises ``PipeError`` if the manager is dead.

        Do not wait while tasks are here, if they may start.
        """
        poll = select.poll()
        poll.register(self._pipe.fd, select.POLLIN)
        with self._reading:
            if (self._tasks and may_start) or self.stopping:  # the control thread has read it
                return True
            if not poll.poll(timeout * 1000):
                return False
            self.claim_times.clear()
            self._accept(self._pipe.receive())
        return True

    def has_lost_manager(self) -> bool:
        """Return whether the manager is dead, also while messages of it have not been read."""
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in self._lost.poll(0))

    def put_back(self, row: TaskRow) -> None:
        """Put back a task that was to start next, and must not start now."""
        self._tasks.appendleft(row)

    def return_older(self, epoch: int) -> None:
        """Return the tasks that were sent before the manager's lease was lost for the ``epoch``-th time."""
        if epoch > self._epoch:
            self._epoch = epoch
            if self._tasks:
                self._return_all()

    def take_left(self) -> list[TaskRow]:
        """Take every task that has not started from a dead manager, with those on their way."""
        with self._reading, suppress(PipeError):
            self._accept(self._pipe.receive_available())
        left, self._unreturned = self._unreturned + self._take_all(), []
        return left

    def _take_all(self) -> list[TaskRow]:
        taken: list[TaskRow] = []
        with suppress(IndexError):
            while True:
                taken.append(self._tasks.pop())
        return taken[::-1]

    def _return_all(self) -> None:
        self._return(self._take_all())

    def _return(self, rows: list[TaskRow]) -> None:
        try:
            self._send_back([row[ID] for row in rows])
        except PipeError:  # the main thread finds out at its next message
            self._unreturned += rows

    def _accept(self, messages: list[Message]) -> None:
        for message in messages:
            match message:
                case RunTasks(rows, claim_times, epoch):
                    self.return_older(epoch)
                    if epoch < self._epoch:  # it was on its way when the page showed the loss
                        self._return(rows)
                        continue
                    self.claim_times.update(claim_times)
                    self._tasks.extend(rows)
                case Stop():
                    self.stopping = True
                    self._return_all()
                case Interrupt():
                    self._interrupt(message)
                case LogStacks():
                    self._log_stacks()
                case _:
                    raise PipeError(f"a manager sent {type(message).__name__}, which only workers send")

    def _listen(self) -> None:  # pragma: no cover: runs in worker processes
        while os.read(self._bell, 64):
            # A main thread that waits for messages holds the lock, and reads what comes itself.
            if self._reading.acquire(blocking=False):
                try:
                    self._accept(self._pipe.receive_available())
                except PipeError:
                    return
                finally:
                    self._reading.release()
            self._return_all()
        self._manager_lost()
