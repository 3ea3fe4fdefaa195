"""A connection of ours whose every answer has a deadline: the server's first, then our own.

| | written by |
| --- | --- |
| `waits_since`, `connection`, `_abandoned` | the thread that makes calls |
| `_socket` | that thread, below `_lock` |
| `is_trusted`, `is_worn` | the loop, and the thread when it connects |
"""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

from django.db import Error, OperationalError, ProgrammingError

from django_partisan.sql.connection import fetch_all, has_ended, open_connection
from django_partisan.sql.errors import ErrorKind, kind_of, sqlstate

ANSWER_SECONDS_MIN: Final = 2.0
GRACE_SECONDS: Final = 1.0
"""How much later than the server's our own deadline is, so that an answer that it cancelled arrives."""
IDLE_SECONDS: Final = 1.0
"""A connection that was idle for longer is looked at before it is used."""
END_MILLISECONDS: Final = 1000
"""How long a server may take to end the session that was abandoned before."""
NO_TRANSACTION: Final = 0
"""libpq's PQTRANS_IDLE, the same number in both drivers."""

_INTRODUCTION: Final = """
    SELECT own.pid, own.backend_start::text,
           extract(epoch FROM current_setting('statement_timeout')::interval)::float8,
           (SELECT pg_terminate_backend(earlier.pid, %s) FROM pg_stat_activity AS earlier
             WHERE earlier.pid = %s AND earlier.backend_start::text = %s)
      FROM pg_stat_activity AS own WHERE own.pid = pg_backend_pid()
"""


def answer_seconds(lease_seconds: float) -> float:
    """Return how long PostgreSQL may take to answer a manager with this lease, or its workers."""
    return max(ANSWER_SECONDS_MIN, lease_seconds / 6)


class Backend(NamedTuple):
    """The server's process for a session; a process id alone may be used again."""

    pid: int
    started_at: str


class Session:
    """A connection named after ``role``, in which PostgreSQL ends statements after ``answer_seconds``.

    That limit is set with each statement, in the same message and for its transaction only, unless the
    session's own is shorter. Any thread may ``hang_up()`` on a server that does not answer later still;
    what the server still does for us then is ended as soon as another connection stands.
    """

    def __init__(self, role: str, answer_seconds: float, schema: str = "") -> None:
        self.connection = open_connection(role, answer_seconds, schema)
        self.connection.execute_wrappers.append(self._execute)
        self._answer_seconds = answer_seconds
        self._our_limit = _set_local("statement_timeout", answer_seconds)
        self._limit = ""
        # Locks of a transaction that nobody goes on with do not outlive our own deadline.
        self._idle_limit = _set_local("idle_in_transaction_session_timeout", answer_seconds + GRACE_SECONDS)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._guarded: Any = None
        self._introduced: Any = None
        self._backend: Backend | None = None
        self._abandoned: Backend | None = None
        self._idle_since = 0.0
        self.is_trusted = True
        """False if another connection's way to the server was cut since this one connected."""
        self.is_worn = False
        """True if the connection is to be replaced before the next call."""
        self.waits_since: float | None = None
        """Monotonic time since which the server is to answer."""

    @property
    def has_ended_idle(self) -> bool:
        """True if the server ended the connection while it was idle, for longer than a moment."""
        raw = self.connection.connection
        is_idle = raw is not None and time.monotonic() - self._idle_since > IDLE_SECONDS
        return is_idle and has_ended(raw)

    def open(self) -> None:
        """Connect unless connected, and learn who serves us."""
        if self.connection.connection is None:
            self.is_trusted, self.is_worn = True, False
            self.connection.ensure_connection()
        if self._introduced is not self.connection.connection:
            self._introduce()

    def begin(self) -> None:
        """Note that answers are awaited from now on."""
        self.waits_since = time.monotonic()

    def end(self) -> None:
        """Note that no answer is awaited any more."""
        self.waits_since = None
        self._idle_since = time.monotonic()

    def is_lost(self, error: Error) -> bool:
        """Return whether the connection is of no use after an error; sends nothing to find out."""
        raw = self.connection.connection
        if raw is None:
            return False
        code = sqlstate(error)
        if code is None or kind_of(error) is ErrorKind.READ_ONLY or code.startswith(("08", "57P")):
            return True
        return bool(raw.closed) or raw.info.transaction_status != NO_TRANSACTION

    def close(self) -> None:
        """Close the connection, however it is."""
        if self._backend is not None:
            self._abandoned, self._backend = self._backend, None
        self._guarded = self._introduced = None
        try:
            self.connection.close()
        except Error:
            self.connection.connection = None
        self._keep_socket(None)

    # From any thread.

    def patience(self) -> float:
        """Return how many seconds to wait for an answer."""
        return self._answer_seconds + GRACE_SECONDS if self.is_trusted else GRACE_SECONDS

    def hang_up(self) -> None:
        """End the wait for an answer: the call under way fails as if the server had closed the connection."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # the other side was first
                    self._socket.shutdown(socket.SHUT_RDWR)

    def distrust(self) -> None:
        """Lose patience, because another connection's way to the server is cut; replace this one as well."""
        self.is_trusted, self.is_worn = False, True

    # In the thread that makes calls.

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Set the limit in the statement's own message, so that it costs no round trip."""
        if self._guarded is not self.connection.connection:
            self._guard()
        limits = self._limit if self.connection.autocommit else self._limit + self._idle_limit
        self.waits_since = time.monotonic()
        result = execute(limits + sql, params, many, context)
        self.waits_since = time.monotonic()
        return result

    def _guard(self) -> None:
        """Keep a socket of our own that leads where the new connection's does."""
        self._guarded = raw = self.connection.connection
        self._keep_socket(socket.socket(fileno=os.dup(raw.fileno())))

    def _keep_socket(self, kept: socket.socket | None) -> None:
        with self._lock:
            before, self._socket = self._socket, kept
        if before is not None:
            before.close()

    def _introduce(self) -> None:
        """Learn which backend serves us and how long it lets statements run; end the one before it."""
        self._limit = ""  # which would be taken for the session's own
        before = self._abandoned or Backend(0, "")
        parameters = (END_MILLISECONDS, before.pid, before.started_at)
        is_short = False
        try:
            rows = fetch_all(self.connection, _INTRODUCTION, parameters)
        except ProgrammingError:  # the role may not end sessions: statement_timeout will
            rows = []
        for pid, started_at, limit, has_ended_before in rows:
            if has_ended_before is False:
                self.close()
                self._abandoned = before
                raise OperationalError(f"the earlier session {before.pid} does not end")
            if pid == self.connection.connection.info.backend_pid:  # else a pooler is between us
                self._backend = Backend(pid, started_at)
            is_short = 0 < limit <= self._answer_seconds
        self._limit = "" if is_short else self._our_limit
        self._abandoned = None
        self._introduced = self.connection.connection


def _set_local(name: str, seconds: float) -> str:
    return f"SET LOCAL {name} = {round(seconds * 1000)}; "
