"""Listen to channels over a database thread's connection, and call their listeners in the loop."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.database_call import Deliver, StandingCall
from django_partisan.sql.listening import Listener

Notified: TypeAlias = Callable[[set[str] | None], None]


class Notifications:
    """The listeners of a connection, by channel; only the database thread calls methods.

    Each listener gets the payloads of its channel, or ``None`` if some may have been missed: when the
    connection is lost between calls, and when another one begins to listen.
    """

    def __init__(self, listeners: Mapping[str, Notified], deliver: Deliver) -> None:
        self._listeners = listeners
        self._deliver = deliver
        self._listener: Listener | None = None
        self._has_listened = False

    @property
    def is_on(self) -> bool:
        """True if notifications arrive."""
        return self._listener is not None

    @property
    def are_missing(self) -> bool:
        """True if there are listeners, but no notifications arrive."""
        return bool(self._listeners) and self._listener is None

    @property
    def fd(self) -> int | None:
        """Readable if a notification may have arrived; ``None`` if none can arrive."""
        return None if self._listener is None else self._listener.fd

    def begin(self, connection: BaseDatabaseWrapper) -> int:
        """Listen over a new connection; return ``fd``."""
        self._listener = listener = Listener(connection, *self._listeners)
        if self._has_listened:
            self.deliver_missed()
        self._has_listened = True
        return listener.fd

    def end(self) -> None:
        """Listen no more, because the connection is closed."""
        self._listener = None

    def pass_on(self, standing: StandingCall | None) -> StandingCall | None:
        """Pass on what has arrived, except a notification that begins the standing call.

        Return this call, or ``None``. Raises ``OperationalError`` if the connection is lost.
        """
        if self._listener is None:
            return None
        begun = None
        for channel, payloads in self._listener.take().items():
            notified = self._listeners.get(channel)
            if standing is not None and standing.take_if_notified(channel, payloads):
                begun = standing
            elif notified is not None:  # code of the project may listen too, as on `connection_created`
                self._deliver(partial(notified, payloads))
        return begun

    def deliver_missed(self) -> None:
        """Tell all listeners that notifications may have been missed."""
        for notified in self._listeners.values():
            self._deliver(partial(notified, None))
