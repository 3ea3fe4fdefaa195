"""Notifications are read from both drivers; what a real server sends is tested with one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.sql.listening import Listener


class Driver:
    """What both drivers have; notifications that are ``sent`` wait in the socket."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.executed: list[str] = []

    def fileno(self) -> int:
        return 7

    def send(self, *queues: str) -> None:
        self.sent += queues


class Psycopg2(Driver):
    """It keeps what it reads, with an answer or by a poll."""

    def __init__(self) -> None:
        super().__init__()
        self.notifies: list[Any] = []

    def poll(self) -> None:
        self.notifies += [SimpleNamespace(payload=queue) for queue in self.sent]
        self.sent.clear()

    read_answer = poll


class Psycopg3(Driver):
    """What it reads with an answer goes to handlers alone; libpq keeps what is read besides."""

    def __init__(self) -> None:
        super().__init__()
        self.pgconn = self
        self.came: list[Any] = []
        self.handlers: list[Callable[[Any], None]] = []

    def add_notify_handler(self, handler: Callable[[Any], None]) -> None:
        self.handlers.append(handler)

    def read_answer(self) -> None:
        for queue in self.sent:
            for handler in self.handlers:
                handler(SimpleNamespace(payload=queue))
        self.sent.clear()

    def consume_input(self) -> None:
        self.came += [SimpleNamespace(extra=queue.encode()) for queue in self.sent]
        self.sent.clear()

    def notifies(self) -> Any:
        return self.came.pop(0) if self.came else None


class Lost(Psycopg2):
    def poll(self) -> None:
        raise RuntimeError("server closed the connection unexpectedly")


class Connection:
    """Django's connection, as far as a listener needs it."""

    def __init__(self, raw: Any) -> None:
        self.connection = raw

    def ensure_connection(self) -> None:
        pass

    def cursor(self) -> "Connection":
        return self

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def execute(self, sql: str, parameters: Any) -> None:
        self.connection.executed.append(sql)


def listener_of(connection: Connection) -> Listener:
    made: Any = connection
    return Listener(made)


@pytest.mark.parametrize("driver", [Psycopg2, Psycopg3])
def test_the_queues_that_were_notified_are_returned_once_however_they_were_read(driver):
    raw = driver()
    listener = listener_of(Connection(raw))
    assert raw.executed == ["LISTEN django_partisan"]
    raw.send("mail", "mail", "images")
    raw.read_answer()
    raw.send("mail", "reports")

    assert listener.take() == {"mail", "images", "reports"}
    assert listener.take() == set()


def test_a_lost_connection_raises_djangos_error():
    listener = listener_of(Connection(Lost()))

    with pytest.raises(OperationalError, match="server closed the connection unexpectedly"):
        listener.take()


@pytest.mark.parametrize("after", [None, Psycopg2()])
def test_a_connection_that_was_closed_or_replaced_raises_djangos_error(after):
    connection = Connection(Psycopg2())
    listener = listener_of(connection)
    connection.connection = after

    with pytest.raises(OperationalError, match="the connection is closed"):
        listener.take()
