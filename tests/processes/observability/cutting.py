"""A connection to the database that a test can cut, or hold, and mend."""

import os
import select
import socket
import threading
from types import TracebackType
from typing import Any

from tests.support.database import this_database

HOST = "127.0.0.1"
_POLL_SECONDS = 0.02


class Wire:
    """Forward connections to the test PostgreSQL server while used as a context manager."""

    def __init__(self) -> None:
        self._goal = (os.environ["PGHOST"], int(os.environ["PGPORT"]))
        self._is_cut = self._is_held = self._has_ended = False
        self._partners: dict[socket.socket, socket.socket] = {}
        self._listener = socket.create_server((HOST, 0))
        self._thread = threading.Thread(target=self._forward, daemon=True)

    @property
    def database(self) -> dict[str, Any]:
        """Database settings that connect through this wire."""
        return {**this_database(), "HOST": HOST, "PORT": self._listener.getsockname()[1]}

    def __enter__(self) -> "Wire":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._has_ended = True
        self._thread.join()
        self._end_all()
        self._listener.close()

    def cut(self) -> None:
        """Close every connection, including new ones."""
        self._is_cut = True

    def hold(self) -> None:
        """Forward nothing and close nothing, as a network that loses every packet."""
        self._is_held = True

    def mend(self) -> None:
        """Forward again."""
        self._is_cut = self._is_held = False

    def _forward(self) -> None:
        while not self._has_ended:
            if self._is_cut:
                self._end_all()
            asked = [self._listener] if self._is_held else [self._listener, *self._partners]
            for ready in select.select(asked, [], [], _POLL_SECONDS)[0]:
                if ready is self._listener:
                    self._connect()
                elif ready in self._partners:
                    self._pass_on(ready)

    def _connect(self) -> None:
        near, _ = self._listener.accept()
        if self._is_cut:
            near.close()
            return
        far = socket.create_connection(self._goal)
        self._partners |= {near: far, far: near}

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(1 << 16)
            if data:
                self._partners[source].sendall(data)
                return
        except OSError:
            pass  # a broken connection is closed, like one that was closed normally
        self._end(source)

    def _end(self, end: socket.socket) -> None:
        other = self._partners.pop(end)
        del self._partners[other]
        end.close()
        other.close()

    def _end_all(self) -> None:
        while self._partners:
            self._end(next(iter(self._partners)))
