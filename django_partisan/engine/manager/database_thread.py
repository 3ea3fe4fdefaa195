"""A thread with a database connection of its own: one call at a time, results to the loop.

The loop never waits for PostgreSQL. Duties that must not wait for each other have threads of their own.

| | written by |
| --- | --- |
| `_calls` | appended by the loop, popped by the thread |
| `_pending` | the loop |
| the connection, `_waiting`, `_listening_fd` | the thread |
"""

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import open_connection
from django_partisan.sql.listening import listen, queues_notified
from django_partisan.telemetry import bus

Call: TypeAlias = Callable[[BaseDatabaseWrapper], Any]
Done: TypeAlias = Callable[[Any], None]
Deliver: TypeAlias = Callable[[Callable[[], None]], None]


class DatabaseThread:
    """Make calls with a connection in a thread of its own.

    ``deliver`` hands a function to the loop, which calls it in its own thread; ``done`` gets what
    the call returned, or the exception that it raised. After a database error the connection is
    closed if it is unusable, and opened again for the next call.

    With ``notified`` the connection listens for notifications after its first call. ``notified`` gets the
    names of the queues, if any, or ``None`` when some may have been missed: when the connection is
    lost, and when another one listens again.
    """

    def __init__(
        self, role: str, deliver: Deliver, notified: Callable[[set[str] | None], None] | None = None
    ) -> None:
        self._connection = open_connection(role)
        self._deliver = deliver
        self._calls: deque[tuple[Call, Done] | None] = deque()
        self._bell, self._ring = os.pipe()
        self._notified = notified
        self._has_listened = False
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._bell, selectors.EVENT_READ)
        self._listening_fd: int | None = None
        self._pending = 0
        self._thread = threading.Thread(target=self._run, name=f"partisan-{role}", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """True while a call waits or is under way."""
        return self._pending > 0

    def submit(self, call: Call, done: Done) -> None:
        """Make a call after those submitted before."""
        self._pending += 1
        self._calls.append((call, done))
        os.write(self._ring, b"!")

    def close(self, timeout: float) -> bool:
        """End the thread after the calls submitted before; return whether it ended in time."""
        self._calls.append(None)
        os.write(self._ring, b"!")
        self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended:
            self._waiting.close()
            os.close(self._bell)
            os.close(self._ring)
        return ended

    def _run(self) -> None:
        with bus.quiet():
            self._serve()

    def _serve(self) -> None:
        while True:
            for key, _ in self._waiting.select():
                if key.fd == self._bell:
                    os.read(self._bell, 4096)
                else:
                    self._take_notifications()
            while self._calls:
                item = self._calls.popleft()
                if item is None:
                    self._disconnect()
                    return
                self._make(*item)

    def _make(self, call: Call, done: Done) -> None:
        connection = self._connection
        result: Any
        try:
            result = call(connection)
            if self._notified is not None and self._listening_fd is None:
                self._listen()
        except Error as error:
            result = error
            if connection.connection is not None and not connection.is_usable():
                self._disconnect()
        except Exception as error:  # a fault of our own: the loop decides, this thread goes on
            result = error
            self._disconnect()
        self._deliver(lambda: self._finish(done, result))

    def _finish(self, done: Done, result: Any) -> None:
        self._pending -= 1
        done(result)

    def _disconnect(self) -> None:
        if self._listening_fd is not None:
            self._waiting.unregister(self._listening_fd)
            self._listening_fd = None
        try:
            self._connection.close()
        except Error:
            self._connection.connection = None

    def _listen(self) -> None:
        listen(self._connection)
        self._listening_fd = self._connection.connection.fileno()
        self._waiting.register(self._listening_fd, selectors.EVENT_READ)
        if self._has_listened:
            self._deliver_queues(None)
        self._has_listened = True

    def _take_notifications(self) -> None:
        queues: set[str] | None = None
        try:
            queues = queues_notified(self._connection)
        except Error:
            self._disconnect()  # the next call opens it again, and listens again
        self._deliver_queues(queues)

    def _deliver_queues(self, queues: set[str] | None) -> None:
        notified = self._notified
        assert notified is not None  # or nothing would have been listened to
        self._deliver(lambda: notified(queues))
