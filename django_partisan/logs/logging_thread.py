"""Call handlers that may block in a thread, so that the code that logs does not wait.

The manager's loop logs through it. The handlers may be the project's own, and even a file can be on a disk
that does not respond.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from django_partisan.logs import dropped, write_errors
from django_partisan.logs.dropped import Dropped

QUEUE_MAX: Final = 10_000
"""The highest number of records that wait while a handler does not return."""


class LoggingThread:
    """A thread that passes records to their loggers in order, and reports dropped lines from time to time."""

    def __init__(self, dropped_telemetry: Dropped, queue_max: int = QUEUE_MAX) -> None:
        self._dropped_telemetry = dropped_telemetry
        self._queue_max = queue_max
        self._changed = threading.Condition()
        # The thread removes the first one when it has handled it; ``None`` stands for a report.
        self._waiting: deque[logging.LogRecord | None] = deque()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def log(self, record: logging.LogRecord) -> None:
        """Pass ``record`` to the thread, or drop and count it if too many are waiting. Never blocks."""
        with self._changed:
            if len(self._waiting) > self._queue_max:
                dropped.count(dropped.HANDLER_STALLED)
                return
            self._waiting.append(record)
            self._wake()

    def add_dropped(self, lines: dict[str, int]) -> None:
        """Add what a worker dropped to the next report."""
        dropped.add(lines)
        with self._changed:
            self._wake()

    def close(self, timeout: float) -> bool:
        """Report what was dropped, and wait until every record is logged; return whether that was in time.

        Then the thread ends; a later record starts it again.
        """
        deadline = time.monotonic() + timeout
        if not self._finish(deadline):
            return False
        self._dropped_telemetry.report(at_once=True)
        is_in_time = self._finish(deadline)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        return is_in_time

    def _finish(self, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, deadline - time.monotonic())

    def _wake(self) -> None:
        self._is_closed = False
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="partisan-logging", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            try:
                self._handle(self._waiting[0])  # a variable would keep the record and its frames alive
            except BaseException:  # a project's handler may even raise SystemExit
                write_errors.note("A line could not be logged")
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    def _handle(self, record: logging.LogRecord | None) -> None:
        if record is None:
            self._dropped_telemetry.report()
        else:
            logging.getLogger(record.name).handle(record)

    def _wait(self) -> bool:
        """Wait for a record, or until a report is due; return False if the thread should end."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                if not self._changed.wait(self._dropped_telemetry.due_in()):
                    self._waiting.append(None)
            if not self._waiting:
                self._thread = None
            return bool(self._waiting)


def ends_within(seconds: float, call: Callable[[], object], name: str) -> bool:
    """Call ``call``, which must not raise, in a thread; return False if it takes longer than ``seconds``."""
    thread = threading.Thread(target=call, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
