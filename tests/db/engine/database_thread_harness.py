"""A database thread whose loop the test turns."""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.loop_calls import LoopCalls
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.control import CONTROL_CHANNEL
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.session import Session
from tests.support.waiting import wait_until

PATIENT_SECONDS = 20.0


class DatabaseThreadHarness:
    """A database thread, and the loop that receives its results."""

    def __init__(self, answer_seconds: float = PATIENT_SECONDS) -> None:
        self.calls = LoopCalls()
        self.results: list[Any] = []
        self.notified: list[set[str] | None] = []
        self.controls: list[set[str] | None] = []
        listeners = {CHANNEL: self.notified.append, CONTROL_CHANNEL: self.controls.append}
        self.thread = DatabaseThread("test", self.calls.deliver, listeners, answer_seconds)

    def ask(self, call: Callable[[BaseDatabaseWrapper], Any]) -> Any:
        """Make one call; return its result or its error."""
        self.thread.submit(call, self.results.append)
        assert self.thread.is_busy
        self.turn_until(lambda: not self.thread.is_busy)
        return self.results.pop()

    def turn_until(self, condition: Callable[[], Any]) -> None:
        def turned() -> Any:
            self.calls.run_delivered()
            return condition()

        wait_until(turned)

    def session(self) -> int:
        """Return the backend's process id, which differs after a reconnection."""
        pid = self.ask(lambda connection: fetch_all(connection, "SELECT pg_backend_pid()")[0][0])
        assert isinstance(pid, int)
        return pid

    def is_notified(self, queue: str) -> bool:
        execute(connection, "SELECT pg_notify(%s, %s)", (CHANNEL, queue))
        self.turn_until(lambda: {queue} in self.notified)
        return True


def has_ended(pid: int) -> bool:
    """Return whether the server no longer has this session."""
    return not fetch_all(connection, "SELECT FROM pg_stat_activity WHERE pid = %s", (pid,))


def close(session: Session) -> None:
    """Close a session, and wait until the server has ended it; the next one waits for at most a second."""
    [(pid,)] = fetch_all(session.connection, "SELECT pg_backend_pid()")
    session.close()
    wait_until(lambda: has_ended(pid), what="the server has ended the session")
