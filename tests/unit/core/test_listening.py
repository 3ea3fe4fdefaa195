"""Notifications are read from both drivers, here doubles; tests/db covers a real server."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.sql.listening import Listener


class Driver:
    """What both drivers have in common; notifications in ``sent`` wait in the socket."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.executed: list[str] = []

    def fileno(self) -> int:
        return 7

    def send(self, channel: str, *payloads: str) -> None:
        self.sent += [(channel, payload) for payload in payloads]


class Psycopg2(Driver):
    """A driver that stores every notification, whether it arrives with an answer or by a poll."""

    def __init__(self) -> None:
        super().__init__()
        self.notifies: list[Any] = []

    def poll(self) -> None:
        self.notifies += [_notification(*one) for one in self.sent]
        self.sent.clear()

    read_answer = poll


class Psycopg3(Driver):
    """A driver that passes notifications read with an answer to handlers only; libpq stores the others."""

    def __init__(self) -> None:
        super().__init__()
        self.pgconn = self
        self.came: list[Any] = []
        self.handlers: list[Callable[[Any], None]] = []

    def add_notify_handler(self, handler: Callable[[Any], None]) -> None:
        self.handlers.append(handler)

    def read_answer(self) -> None:
        for one in self.sent:
            for handler in self.handlers:
                handler(_notification(*one))
        self.sent.clear()

    def consume_input(self) -> None:
        self.came += [
            SimpleNamespace(relname=channel.encode(), extra=payload.encode())
            for channel, payload in self.sent
        ]
        self.sent.clear()

    def notifies(self) -> Any:
        return self.came.pop(0) if self.came else None


def _notification(channel: str, payload: str) -> Any:
    return SimpleNamespace(channel=channel, payload=payload)


class Lost(Psycopg2):
    def poll(self) -> None:
        raise RuntimeError("server closed the connection unexpectedly")


class Connection:
    """Django's connection, with only what a listener uses."""

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
    return Listener(made, "tasks", "control")


@pytest.mark.parametrize("driver", [Psycopg2, Psycopg3])
def test_what_was_notified_is_returned_once_by_channel_however_it_was_read(driver):
    raw = driver()
    listener = listener_of(Connection(raw))
    assert raw.executed == ["LISTEN tasks; LISTEN control"]
    raw.send("tasks", "mail", "mail", "images")
    raw.read_answer()
    raw.send("tasks", "mail", "reports")
    raw.send("control", "{}")

    assert listener.take() == {"tasks": {"mail", "images", "reports"}, "control": {"{}"}}
    assert listener.take() == {}


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
