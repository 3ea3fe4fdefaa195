"""Records on their way to handlers that may block: a thread calls the handlers, and the caller does not wait.

The manager's loop logs through it. The handlers may be the host's own, and even a file can be on a disk
that does not answer.
"""

import logging
import threading
import time
from collections import deque
from typing import Final

from django_partisan.logs import dropped, trouble
from django_partisan.logs.dropped import Dropped

QUEUE_MAX: Final = 10_000
"""How many records wait at most while a handler does not return."""


class LoggingThread:
    """Hand records to their loggers in order, in a thread; report at times which lines were dropped."""

    def __init__(self, dropped_telemetry: Dropped, queue_max: int = QUEUE_MAX) -> None:
        self._dropped_telemetry = dropped_telemetry
        self._queue_max = queue_max
        self._changed = threading.Condition()
        self._waiting: deque[logging.LogRecord] = deque()
        self._is_handling = False
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def log(self, record: logging.LogRecord) -> None:
        """Let the thread log ``record``; count it as dropped if too many wait. Never blocks."""
        with self._changed:
            if len(self._waiting) >= self._queue_max:
                dropped.count(dropped.HANDLER_STALLED)
                return
            self._waiting.append(record)
            self._wake()

    def add_dropped(self, lines: dict[str, int]) -> None:
        """Add what a worker dropped, for the next report."""
        self._dropped_telemetry.add(lines)
        with self._changed:
            self._wake()

    def close(self, timeout: float) -> bool:
        """Report what was dropped, and wait until every record is logged; return whether it was in time.

        The thread ends then; a later record starts it again.
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
            return self._changed.wait_for(
                lambda: not self._waiting and not self._is_handling, deadline - time.monotonic()
            )

    def _wake(self) -> None:
        self._is_closed = False
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="partisan-logging", daemon=True)
            thread.start()
            self._thread = thread
        self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            record = self._next()
            try:
                if record is None:
                    self._dropped_telemetry.report()
                else:
                    logging.getLogger(record.name).handle(record)
            except BaseException:  # a host's handler may even raise SystemExit
                trouble.note("A line could not be logged")
            record = None  # its exception refers to frames, which would live until the next record
            with self._changed:
                self._is_handling = False
                self._changed.notify_all()

    def _wait(self) -> bool:
        """Wait for a record, or until a report is due; return False if the thread ends."""
        with self._changed:
            if not self._waiting and not self._is_closed:
                self._changed.wait(self._dropped_telemetry.due_in())
            self._is_handling = bool(self._waiting) or not self._is_closed
            if not self._is_handling:
                self._thread = None
            return self._is_handling

    def _next(self) -> logging.LogRecord | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None
