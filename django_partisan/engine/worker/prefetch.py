"""What a worker was handed and has not begun, and how the manager gets it back.

The main thread takes the next task from the left. When the manager rings, a thread takes all that
is left from the right, also while a task is in a long call. Both ends of a deque are safe, so
beginning a task takes no lock.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable

from django_partisan.engine.pipe import Broken, WorkerEnd
from django_partisan.engine.protocol import Message, RunTasks, Stop
from django_partisan.sql.claiming import ID, TaskRow


class Inbox:
    """Receive messages from the manager; hold tasks until they begin or go back.

    ``give_back`` is called, in the recalling thread, with the ids of tasks that were recalled.
    """

    def __init__(self, pipe: WorkerEnd, bell: int, give_back: Callable[[list[int]], None]) -> None:
        self._pipe = pipe
        self._bell = bell
        self._give_back = give_back
        self._tasks: deque[TaskRow] = deque()
        self._reading = threading.Lock()
        self.claim_times: dict[int, float] = {}
        """Monotonic times of the claims that the tasks came with, by token."""
        self.stopping = False

    def start(self) -> None:
        """Answer recalls from now on."""
        threading.Thread(target=self._answer_recalls, name="partisan-recalls", daemon=True).start()

    def next(self) -> TaskRow | None:
        """Return the next task to begin, or ``None`` if none is here."""
        try:
            return self._tasks.popleft()
        except IndexError:
            return None

    def wait(self, timeout: float) -> bool:
        """Wait for a message; return False if none came. Raises ``Broken`` if the manager is gone."""
        poll = select.poll()
        poll.register(self._pipe.fd, select.POLLIN)
        with self._reading:
            if self._tasks or self.stopping:  # the recalling thread read it meanwhile
                return True
            if not poll.poll(timeout * 1000):
                return False
            self.claim_times.clear()
            self._accept(self._pipe.receive())
        return True

    def take_all(self) -> list[TaskRow]:
        """Take every task that has not begun."""
        taken = []
        while True:
            try:
                taken.append(self._tasks.pop())
            except IndexError:
                return taken[::-1]

    def _accept(self, messages: list[Message]) -> None:
        for message in messages:
            match message:
                case RunTasks(rows, claim_times):
                    self.claim_times.update(claim_times)
                    self._tasks.extend(rows)
                case Stop():
                    self.stopping = True
                    self._give_back([row[ID] for row in self.take_all()])
                case _:
                    raise Broken(f"a manager sent {type(message).__name__}, which only workers send")

    def _answer_recalls(self) -> None:  # pragma: no cover: runs in worker processes
        while os.read(self._bell, 64):
            ids: list[int] = []
            # A main thread that waits for messages holds the lock, and has no task.
            if self._reading.acquire(blocking=False):
                try:
                    self._accept(self._pipe.receive_available())
                    ids = [row[ID] for row in self.take_all()]
                except Broken:
                    return
                finally:
                    self._reading.release()
            self._give_back(ids)
