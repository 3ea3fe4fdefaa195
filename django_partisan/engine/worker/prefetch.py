"""Tasks that a worker has received and not started, and how its manager gets them back.

| thread | does what |
|---|---|
| main | takes the next task from the left; waits for messages when there is none |
| ``partisan-recalls`` | when the manager rings, returns all tasks, from the right, also while one runs |

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
from django_partisan.engine.protocol import Message, RunTasks, Stop
from django_partisan.sql.claiming import ID, TaskRow


class PrefetchedTasks:
    """Receive messages from the manager; hold tasks until they start or are returned.

    ``send_back`` is called with the ids of tasks to return, mostly in the recall thread.
    """

    def __init__(self, pipe: WorkerEnd, bell: int, send_back: Callable[[list[int]], None]) -> None:
        self._pipe = pipe
        self._bell = bell
        self._send_back = send_back
        self._tasks: deque[TaskRow] = deque()
        self._reading = threading.Lock()
        # Monotonic times of the claims that the tasks came with, by token.
        self.claim_times: dict[int, float] = {}
        self.stopping = False

    def start(self) -> None:
        """Answer recalls from now on."""
        threading.Thread(target=self._answer_recalls, name="partisan-recalls", daemon=True).start()

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
            if (self._tasks and may_start) or self.stopping:  # the recall thread has read it
                return True
            if not poll.poll(timeout * 1000):
                return False
            self.claim_times.clear()
            self._accept(self._pipe.receive())
        return True

    def take_all(self) -> list[TaskRow]:
        """Take every task that has not started."""
        taken: list[TaskRow] = []
        with suppress(IndexError):
            while True:
                taken.append(self._tasks.pop())
        return taken[::-1]

    def _return_all(self) -> None:
        self._send_back([row[ID] for row in self.take_all()])

    def _accept(self, messages: list[Message]) -> None:
        for message in messages:
            match message:
                case RunTasks(rows, claim_times):
                    self.claim_times.update(claim_times)
                    self._tasks.extend(rows)
                case Stop():
                    self.stopping = True
                    self._return_all()
                case _:
                    raise PipeError(f"a manager sent {type(message).__name__}, which only workers send")

    def _answer_recalls(self) -> None:  # pragma: no cover: runs in worker processes
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
