"""Make database calls in a thread with its own connection, one at a time; deliver results to the loop.

The loop never waits for PostgreSQL. Duties that must not wait for each other use separate threads.

| | written by |
| --- | --- |
| `_calls` | appended by the loop, popped by the thread |
| `_submitted`, `_standing`, `_shut_down_since` | the loop; the thread only takes the standing call |
| `_has_ended` | set by the thread, cleared by the loop |
| `lost` | the thread |
| `_waiting`, `_notifications`, the session (except where it allows any thread) | the thread |
"""

import os
import selectors
import threading
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from django.db import Error, OperationalError

from django_partisan.engine.manager.database_call import Call, Deliver, Done, StandingCall, SubmittedCall
from django_partisan.engine.manager.notifications import Notifications, Notified
from django_partisan.sql.blocking import with_blockers
from django_partisan.sql.session import ANSWER_SECONDS_MIN, Session
from django_partisan.telemetry import bus

GIVE_UP_SECONDS: Final = 1.0
"""A call that has not ended this many seconds after ``shut_down_connection()`` counts as failed.

Such a call was still connecting, so there was no socket to shut down.
"""


class DatabaseThread:
    """A thread that makes calls with its own connection.

    ``deliver`` passes a function to the loop, which calls it in the loop's thread. ``done`` is called with
    the return value of the call, or with the exception that it raised; after a lock or statement timeout,
    the exception names the sessions that lock the table, if any do. After an error the connection is closed
    if it is unusable, and opened again for the next call. A call that gets no answer fails, because the loop
    calls ``shut_down_if_late()``.

    With ``listeners``, by channel, the connection listens for notifications after its first call.
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
        self._calls: deque[SubmittedCall | None] = deque()
        self._submitted: deque[SubmittedCall] = deque()
        self._standing: StandingCall | None = None
        self._shut_down_since: float | None = None
        self._bell, self._ring = os.pipe()
        self._notifications = Notifications(listeners, deliver)
        self._has_ended = False
        self.lost = 0
        """Number of connections lost or replaced so far."""
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"partisan-{role}", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """True while a call is waiting or under way; a standing call counts once it has begun."""
        return bool(self._submitted) and (self._standing is None or self._standing.is_taken)

    @property
    def is_standing_by(self) -> bool:
        """True while a call waits for a notification."""
        return self._standing is not None and not self._standing.is_taken

    @property
    def needs_connection(self) -> bool:
        """True if the next call will replace the connection; must be read only while no call is under way."""
        return self._session.must_reconnect or (not self.is_listening and self._session.has_ended_idle)

    @property
    def is_listening(self) -> bool:
        """True if notifications arrive over this connection; must be read only while no call is under way."""
        return self._notifications.is_on

    def submit(self, call: Call, done: Done) -> None:
        """Make a call after all those submitted before; withdraw a standing call."""
        self.stand_down()
        submitted = SubmittedCall(call, done)
        self._submitted.append(submitted)
        self._calls.append(submitted)
        os.write(self._ring, b"!")

    def stand_by(self, standing: StandingCall) -> None:
        """Make a call as soon as it is notified, without a turn of the loop.

        The listener of the channel is not called for this notification. Use it only after ``stand_down()``
        has returned True.
        """
        self._standing = standing
        self._submitted.append(standing)

    def stand_down(self) -> bool:
        """Withdraw the standing call if it has not begun; return whether no call is waiting or under way."""
        standing = self._standing
        if standing is not None and standing.take():
            self._standing = None
            self._submitted.remove(standing)
            standing.withdrawn()
        return not self.is_busy

    def late_at(self) -> float | None:
        """Return the monotonic time of the next action on a late answer; ``None`` if there is none."""
        since = self._session.waits_since
        if since is None:
            return None
        late_at = since + self._session.answer_timeout()
        if self._shut_down_since != since:
            return late_at
        return None if self._submitted[0].is_given_up else late_at + GIVE_UP_SECONDS

    def shut_down_if_late(self, now: float) -> bool:
        """Shut down the connection if its answer is late; return True, once, if others should be distrusted.

        They should not if this connection was distrusted itself, which shortens its deadline. A call that
        still does not end is given up: it counts as failed, but the thread stays busy.
        """
        since = self._session.waits_since
        if since is None:
            return False
        late_at = self.late_at()
        if late_at is None or now < late_at:
            return False
        if self._shut_down_since == since:
            self._give_up(now - since)
            return False
        self._shut_down_since = since
        was_trusted = self._session.is_trusted
        self._session.shut_down_connection()
        return was_trusted

    def waited(self, now: float) -> float:
        """Return for how many seconds the thread has waited for an answer; 0 if it does not wait."""
        since = self._session.waits_since
        return 0.0 if since is None else now - since

    def take_ended(self) -> bool:
        """Return whether the server closed the connection while it listened, since this was last asked."""
        has_ended, self._has_ended = self._has_ended, False
        return has_ended

    def renew(self) -> None:
        """Replace the connection before the next call."""
        self.stand_down()
        self._session.must_reconnect = True

    def distrust(self) -> None:
        """Replace the connection before the next call; wait at most a second for the current answer."""
        self.stand_down()
        self._session.distrust()

    def shut_down_connection(self) -> None:
        """Shut down the connection, so that the current call fails."""
        self._session.shut_down_connection()

    def end(self) -> None:
        """Request the end of the thread after the calls submitted before; do not wait."""
        self.stand_down()
        self._calls.append(None)
        os.write(self._ring, b"!")

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread, at most ``timeout`` seconds; return whether it ended in time."""
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
                    self._take_notifications()
            while self._calls:
                submitted = self._calls.popleft()
                if submitted is None:
                    self._disconnect()
                    return
                self._make(submitted)
                self._take_notifications()  # some may have been read with the answer

    def _make(self, submitted: SubmittedCall) -> None:
        session = self._session
        session.begin()
        result: Any
        try:
            if self.needs_connection:
                self._disconnect()
            session.open()
            result = submitted.call(session.connection)
            if self._notifications.are_missing:
                fd = self._notifications.begin(session.connection)
                self._waiting.register(fd, selectors.EVENT_READ)
        except Error as error:
            if session.is_lost(error):
                self._disconnect()
                result = error
            else:
                result = with_blockers(session.connection, error)
        except Exception as error:  # an error in our own code: the loop handles it, this thread goes on
            result = error
            self._disconnect()
        session.end()
        self.deliver(lambda: self._finish(submitted, result))

    def _finish(self, submitted: SubmittedCall, result: Any) -> None:
        self._submitted.popleft()
        if submitted is self._standing:
            self._standing = None
        if not submitted.is_given_up:
            submitted.done(result)

    def _give_up(self, seconds: float) -> None:
        submitted = self._submitted[0]
        submitted.is_given_up = True
        submitted.done(OperationalError(f"PostgreSQL has not answered for {seconds:.1f} s"))

    def _disconnect(self) -> None:
        fd = self._notifications.fd
        if fd is not None:
            self._waiting.unregister(fd)
            self._notifications.end()
        self.lost += 1
        self._session.close()

    def _take_notifications(self) -> None:
        try:
            while standing := self._notifications.pass_on(self._standing):
                self._make(standing)
        except Error:
            self._has_ended = True  # set before `lost` grows, because the loop checks `lost` first
            self._disconnect()  # the next call reconnects and listens again
            self._notifications.deliver_missed()
