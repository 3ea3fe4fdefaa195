"""A connection on which every answer has a deadline: first the server's, then the client's.

| | written by |
| --- | --- |
| `waits_since`, `connection`, `_abandoned`, `_prepared` | the thread that makes calls |
| `_socket` | that thread, while it holds `_lock` |
| `is_trusted`, `must_reconnect` | the loop, and the thread when it connects |
"""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

from django.db import Error, OperationalError, ProgrammingError

from django_partisan.sql.connection import fetch_all, has_ended, open_connection
from django_partisan.sql.driver_cursor import DriverCursor
from django_partisan.sql.errors import ErrorKind, kind_of, sqlstate
from django_partisan.sql.preparable import Preparable

ANSWER_SECONDS_MIN: Final = 2.0
GRACE_SECONDS: Final = 1.0
"""How much later the client's deadline is than the server's, so that the server's error still arrives."""
IDLE_SECONDS: Final = 1.0
"""A connection that was idle for longer is checked before it is used."""
END_MILLISECONDS: Final = 1000
"""How long the server may take to end the session that was abandoned before."""
UNPREPARED: Final = frozenset({"26000", "42P05", "0A000"})
"""Errors of a prepared statement: it is missing, it exists already, or the type of a column has changed."""
NO_TRANSACTION: Final = 0
"""libpq's PQTRANS_IDLE, the same number in both drivers."""

_IDENTIFY_BACKEND: Final = """
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
    """The server's process for a session; a process id alone is not unique, because ids are reused."""

    pid: int
    started_at: str


class Session:
    """A connection named after ``role``, whose statements PostgreSQL cancels after ``answer_seconds``.

    That limit is sent with each statement, in the same message and for its transaction only, unless the
    session's own limit is shorter. If the server does not answer even then, any thread may call
    ``shut_down_connection()``; the abandoned session is ended as soon as there is another connection.
    """

    def __init__(self, role: str, answer_seconds: float, schema: str = "") -> None:
        self.connection = open_connection(role, answer_seconds, schema)
        self.connection.execute_wrappers.append(self._execute)
        self.connection.cursor = self._open_cursor  # type: ignore[assignment,method-assign]
        self._answer_seconds = answer_seconds
        self._our_limit = _set_local("statement_timeout", answer_seconds)
        self._limit = ""
        # PostgreSQL ends an abandoned transaction, and releases its locks, at the client's deadline.
        self._idle_limit = _set_local("idle_in_transaction_session_timeout", answer_seconds + GRACE_SECONDS)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._duplicated_for: Any = None
        self._identified: Any = None
        self._backend: Backend | None = None
        self._abandoned: Backend | None = None
        self._prepared: set[str] | None = None
        """The statements prepared on this connection; ``None`` while none may be."""
        self._idle_since = 0.0
        self.is_trusted = True
        """False if another connection to the server was cut off since this one connected."""
        self.must_reconnect = False
        """True if the connection must be replaced before the next call."""
        self.waits_since: float | None = None
        """The monotonic time since which an answer is awaited; ``None`` if none is."""

    @property
    def has_ended_idle(self) -> bool:
        """True if the server ended the connection while it was idle for more than ``IDLE_SECONDS``."""
        raw = self.connection.connection
        is_idle = raw is not None and time.monotonic() - self._idle_since > IDLE_SECONDS
        return is_idle and has_ended(raw)

    def open(self) -> None:
        """Connect unless connected, and find out which process of the server answers."""
        if self.connection.connection is None:
            self.is_trusted, self.must_reconnect = True, False
            self.connection.ensure_connection()
        if self._identified is not self.connection.connection:
            self._identify_backend()

    def begin(self) -> None:
        """Record that an answer is awaited from now on."""
        self.waits_since = time.monotonic()

    def end(self) -> None:
        """Record that no answer is awaited any more."""
        self.waits_since = None
        self._idle_since = time.monotonic()

    def is_lost(self, error: Error) -> bool:
        """Return whether the connection is unusable after an error; sends nothing to the server."""
        raw = self.connection.connection
        if raw is None:
            return False
        code = sqlstate(error)
        if code is None or kind_of(error) is ErrorKind.READ_ONLY or code.startswith(("08", "57P")):
            return True
        return bool(raw.closed) or raw.info.transaction_status != NO_TRANSACTION

    def close(self) -> None:
        """Close the connection, whatever its state."""
        if self._backend is not None:
            self._abandoned, self._backend = self._backend, None
        self._duplicated_for = self._identified = None
        try:
            self.connection.close()
        except Error:
            self.connection.connection = None
        self._keep_socket(None)

    # From any thread.

    def answer_timeout(self) -> float:
        """Return how many seconds to wait for an answer."""
        return self._answer_seconds + GRACE_SECONDS if self.is_trusted else GRACE_SECONDS

    def shut_down_connection(self) -> None:
        """End the wait for an answer: the call under way fails as if the server had closed the connection."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # the other side has closed it already
                    self._socket.shutdown(socket.SHUT_RDWR)

    def distrust(self) -> None:
        """Shorten the wait and replace this connection, because another one to the server was cut off."""
        self.is_trusted, self.must_reconnect = False, True

    # In the thread that makes calls.

    def _open_cursor(self) -> DriverCursor:
        """Open a cursor, as Django's connections do."""
        self.connection.close_if_health_check_failed()
        self.connection.ensure_connection()
        return DriverCursor(self.connection)

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Execute a statement, and set the limit in its own message, which costs no round trip."""
        if self._duplicated_for is not self.connection.connection:
            self._duplicate_socket()
        limits = self._limit if self.connection.autocommit else self._limit + self._idle_limit
        self.waits_since = time.monotonic()
        if self._prepared is not None and isinstance(sql, Preparable) and self.connection.autocommit:
            result = self._execute_prepared(execute, limits, sql, params, many, context)
        else:
            result = execute(limits + sql, params, many, context)
        self.waits_since = time.monotonic()
        return result

    def _execute_prepared(
        self, execute: Any, limits: str, sql: Preparable, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Execute a prepared statement; prepare it first if this connection has not yet."""
        prepared = cast(set[str], self._prepared)
        try:
            if sql.preparation not in prepared:
                execute(limits + sql.settings + sql.preparation, None, False, context)
                prepared.add(sql.preparation)
                self.waits_since = time.monotonic()
            return execute(limits + sql.execution, params, many, context)
        except Error as error:
            if sqlstate(error) not in UNPREPARED:
                raise
        self._prepared = None  # until the next connection
        return execute(limits + sql, params, many, context)

    def _duplicate_socket(self) -> None:
        """Keep a duplicate of the new connection's socket, for ``shut_down_connection()``."""
        self._duplicated_for = raw = self.connection.connection
        self._prepared = None  # until this connection is identified
        self._keep_socket(socket.socket(fileno=os.dup(raw.fileno())))

    def _keep_socket(self, kept: socket.socket | None) -> None:
        with self._lock:
            before, self._socket = self._socket, kept
        if before is not None:
            before.close()

    def _identify_backend(self) -> None:
        """Find out which backend answers and its limit for statements; end the backend abandoned before."""
        self._limit = ""  # otherwise it would be read as the session's own limit
        before = self._abandoned or Backend(0, "")
        parameters = (END_MILLISECONDS, before.pid, before.started_at)
        is_short = False
        try:
            rows = fetch_all(self.connection, _IDENTIFY_BACKEND, parameters)
        except ProgrammingError:  # the role cannot end sessions; statement_timeout ends the statement
            rows = []
        for pid, started_at, limit, has_ended_before in rows:
            if has_ended_before is False:
                self.close()
                self._abandoned = before
                raise OperationalError(f"the earlier session {before.pid} has not ended")
            if pid == self.connection.connection.info.backend_pid:  # otherwise there is a pooler in between
                self._backend = Backend(pid, started_at)
            is_short = 0 < limit <= self._answer_seconds
        self._limit = "" if is_short else self._our_limit
        self._prepared = None if self._backend is None else set()
        self._abandoned = None
        self._identified = self.connection.connection


def _set_local(name: str, seconds: float) -> str:
    return f"SET LOCAL {name} = {round(seconds * 1000)}; "
