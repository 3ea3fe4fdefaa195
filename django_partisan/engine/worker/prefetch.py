"""Hold the tasks that a worker has received and not started, and return them when the manager recalls them.

The bell is a second pipe. The manager rings it to recall the tasks; its end shows that the manager is dead.

| thread | does what |
|---|---|
| main | takes the next task from the left; waits for messages when there is none |
| ``partisan-control`` | when the bell rings, returns all tasks, from the right, also while one runs |

Both ends of a deque are thread-safe, so starting a task takes no lock. The thread that reads the pipe holds
``_reading``.
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

    ``send_back`` is called with the ids of tasks to return, usually in the control thread; it may raise
    ``PipeError``. ``manager_lost`` is called in the control thread when the manager is dead, and may take any
    time. ``interrupt`` is called with each request to interrupt a run, ``log_stacks`` when the manager asks
    for stacks.
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
        # Tasks that could not be returned because the manager is dead; the main thread does not start them.
        self._unreturned: list[TaskRow] = []
        self._reading = threading.Lock()
        self._lost = select.poll()
        self._lost.register(pipe.fd, select.POLLIN)  # without it, macOS does not report the end
        # Monotonic times of the claims of these tasks, by token.
        self.claim_times: dict[int, float] = {}
        self._epoch = 0
        self.stopping = False

    def start(self) -> None:
        """Start the thread that listens to the bell."""
        threading.Thread(target=self._listen, name="partisan-control", daemon=True).start()

    def next(self) -> TaskRow | None:
        """Return the next task to start, or ``None`` if there is none."""
        try:
            return self._tasks.popleft()
        except IndexError:
            return None

    def wait(self, timeout: float, may_start: bool = True) -> bool:
        """Wait for a message; return False if none came. Raises ``PipeError`` if the manager is dead.

        Returns at once if there are tasks that may start, or if the worker is stopping.
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
        """Return whether the manager is dead, even if some of its messages have not been read."""
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in self._lost.poll(0))

    def put_back(self, row: TaskRow) -> None:
        """Put back a task that was about to start and must not start now."""
        self._tasks.appendleft(row)

    def return_older(self, epoch: int) -> None:
        """Return the tasks that were sent before the manager's lease was lost for the ``epoch``-th time."""
        if epoch > self._epoch:
            self._epoch = epoch
            if self._tasks:
                self._return_all()

    def take_unstarted(self) -> list[TaskRow]:
        """Take all tasks that have not started, including those still in the pipe, from a dead manager."""
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
        except PipeError:  # the main thread gets the error at its next message
            self._unreturned += rows

    def _accept(self, messages: list[Message]) -> None:
        for message in messages:
            match message:
                case RunTasks(rows, claim_times, epoch):
                    self.return_older(epoch)
                    if epoch < self._epoch:  # it was sent before the loss that the page has shown
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
            # A main thread that waits for messages holds the lock, and reads what arrives itself.
            if self._reading.acquire(blocking=False):
                try:
                    self._accept(self._pipe.receive_available())
                except PipeError:
                    return
                finally:
                    self._reading.release()
            self._return_all()
        self._manager_lost()
