"""A thread with a database connection of its own: one call at a time, results to the loop.

The loop never waits for PostgreSQL. Duties that must not wait for each other have threads of their own.

| | written by |
| --- | --- |
| `_calls` | appended by the loop, popped by the thread |
| `_pending`, `_submitted`, `_hung_up_on` | the loop |
| `_has_ended` | set by the thread, cleared by the loop |
| `lost` | the thread |
| `_waiting`, `_listener`, the session except where it allows any thread | the thread |
"""

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from django.db import Error, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.blocking import with_blockers
from django_partisan.sql.listening import Listener
from django_partisan.sql.session import ANSWER_SECONDS_MIN, Session
from django_partisan.telemetry import bus

Call: TypeAlias = Callable[[BaseDatabaseWrapper], Any]
Done: TypeAlias = Callable[[Any], None]
Deliver: TypeAlias = Callable[[Callable[[], None]], None]
Notified: TypeAlias = Callable[[set[str] | None], None]

GIVE_UP_SECONDS: Final = 1.0
"""A call that has not ended this long after hanging up is given up: it had no connection yet."""


class Submitted:
    """A call, and who gets its result."""

    def __init__(self, call: Call, done: Done) -> None:
        self.call = call
        self.done = done
        self.is_given_up = False


class DatabaseThread:
    """Make calls with a connection in a thread of its own.

    ``deliver`` hands a function to the loop, which calls it in its own thread; ``done`` gets what
    the call returned, or the exception that it raised, which names who locks the table if the call waited in
    vain for a lock. After an error the connection is closed if it is of no use, and opened again for the next
    call. A call that gets no answer fails: the loop asks ``hang_up_if_late()``.

    With ``listeners``, by channel, the connection listens for notifications after its first call. Each
    listener gets the payloads of its channel, if any, or ``None`` when some may have been missed: when the
    connection is lost, and when another one listens again.
    """

    def __init__(
        self,
        role: str,
        deliver: Deliver,
        listeners: Mapping[str, Notified] = MappingProxyType({}),
        answer_seconds: float = ANSWER_SECONDS_MIN,
        schema: str = "",
    ) -> None:
        self._session = Session(role, answer_seconds, schema)
        self.deliver = deliver
        self._calls: deque[Submitted | None] = deque()
        self._submitted: deque[Submitted] = deque()
        self._hung_up_on: float | None = None
        self._bell, self._ring = os.pipe()
        self._listeners = listeners
        self._has_listened = False
        self._has_ended = False
        self.lost = 0
        """How many connections were lost or replaced so far."""
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._bell, selectors.EVENT_READ)
        self._listener: Listener | None = None
        self._pending = 0
        self._thread = threading.Thread(target=self._run, name=f"partisan-{role}", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """True while a call waits or is under way."""
        return self._pending > 0

    @property
    def needs_connection(self) -> bool:
        """True if the next call will use another connection; read it only while no call is being made."""
        return self._session.is_worn or (self._listener is None and self._session.has_ended_idle)

    def submit(self, call: Call, done: Done) -> None:
        """Make a call after those submitted before."""
        self._pending += 1
        submitted = Submitted(call, done)
        self._submitted.append(submitted)
        self._calls.append(submitted)
        os.write(self._ring, b"!")

    def late_at(self) -> float | None:
        """Return the monotonic time at which there is something to do about an answer that is late."""
        since = self._session.waits_since
        if since is None:
            return None
        late_at = since + self._session.patience()
        if self._hung_up_on != since:
            return late_at
        return None if self._submitted[0].is_given_up else late_at + GIVE_UP_SECONDS

    def hang_up_if_late(self, now: float) -> bool:
        """End the wait for an answer that is late; return True once if others are to be distrusted.

        They are not for an answer that was granted but a moment. A call that does not end even so is given
        up: it counts as failed, though the thread stays busy.
        """
        since = self._session.waits_since
        if since is None:
            return False
        late_at = self.late_at()
        if late_at is None or now < late_at:
            return False
        if self._hung_up_on == since:
            self._give_up(now - since)
            return False
        self._hung_up_on = since
        was_trusted = self._session.is_trusted
        self._session.hang_up()
        return was_trusted

    def waited(self, now: float) -> float:
        """Return for how many seconds an answer has been awaited."""
        since = self._session.waits_since
        return 0.0 if since is None else now - since

    def take_ended(self) -> bool:
        """Return whether the server has ended the connection while it listened, since last asked."""
        has_ended, self._has_ended = self._has_ended, False
        return has_ended

    def renew(self) -> None:
        """Replace the connection before the next call."""
        self._session.is_worn = True

    def distrust(self) -> None:
        """Replace the connection before the next call; wait only a moment longer for an answer."""
        self._session.distrust()

    def hang_up(self) -> None:
        """End the wait for an answer, whatever the call."""
        self._session.hang_up()

    def end(self) -> None:
        """Have the thread end after the calls submitted before."""
        self._calls.append(None)
        os.write(self._ring, b"!")

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread; return whether it came in time."""
        self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended:
            self._waiting.close()
            os.close(self._bell)
            os.close(self._ring)
        return ended

    def close(self, timeout: float) -> bool:
        """End the thread after the calls submitted before; return whether it ended in time."""
        self.end()
        return self.join(timeout)

    def _run(self) -> None:
        with bus.quiet():
            self._serve()

    def _serve(self) -> None:
        while True:
            for key, _ in self._waiting.select():
                if key.fd == self._bell:
                    os.read(self._bell, 4096)
                else:
                    self._take_notifications(key.data)
            while self._calls:
                submitted = self._calls.popleft()
                if submitted is None:
                    self._disconnect()
                    return
                self._make(submitted)

    def _make(self, submitted: Submitted) -> None:
        session = self._session
        session.begin()
        result: Any
        try:
            if self.needs_connection:
                self._disconnect()
            session.open()
            result = submitted.call(session.connection)
            if self._listeners and self._listener is None:
                self._listen()
        except Error as error:
            if session.is_lost(error):
                self._disconnect()
                result = error
            else:
                result = with_blockers(session.connection, error)
        except Exception as error:  # a fault of our own: the loop decides, this thread goes on
            result = error
            self._disconnect()
        if self._listener is not None:  # notifications that came meanwhile were read with the answer
            self._take_notifications(self._listener)
        session.end()
        self.deliver(lambda: self._finish(submitted, result))

    def _finish(self, submitted: Submitted, result: Any) -> None:
        self._pending -= 1
        self._submitted.popleft()
        if not submitted.is_given_up:
            submitted.done(result)

    def _give_up(self, seconds: float) -> None:
        submitted = self._submitted[0]
        submitted.is_given_up = True
        submitted.done(OperationalError(f"PostgreSQL has not answered for {seconds:.1f} s"))

    def _disconnect(self) -> None:
        if self._listener is not None:
            self._waiting.unregister(self._listener.fd)
            self._listener = None
        self._session.close()
        self.lost += 1

    def _listen(self) -> None:
        self._listener = listener = Listener(self._session.connection, *self._listeners)
        self._waiting.register(listener.fd, selectors.EVENT_READ, listener)
        if self._has_listened:
            self._deliver_missed()
        self._has_listened = True

    def _take_notifications(self, listener: Listener) -> None:
        try:
            arrived = listener.take()
        except Error:
            self._has_ended = True  # before it counts as lost, which is what the loop looks at first
            self._disconnect()  # the next call opens it again, and listens again
            self._deliver_missed()
            return
        for channel, payloads in arrived.items():
            notified = self._listeners.get(channel)
            if notified is not None:  # the project's own code may listen too, as when a connection is made
                self.deliver(partial(notified, payloads))

    def _deliver_missed(self) -> None:
        for notified in self._listeners.values():
            self.deliver(partial(notified, None))
