"""Notifications are read from both drivers; what a real server sends is tested with one."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.sql import listening


def connection_of(raw: Any) -> Any:
    return SimpleNamespace(connection=raw)


class Psycopg2:
    """What psycopg2 gives after a poll."""

    def __init__(self, *payloads: str) -> None:
        self.coming = [SimpleNamespace(payload=payload) for payload in payloads]
        self.notifies: list[Any] = []

    def poll(self) -> None:
        self.notifies += self.coming
        self.coming = []


class Psycopg3:
    """What psycopg 3 gives after its input was consumed."""

    def __init__(self, *payloads: bytes) -> None:
        self.pgconn = self
        self.coming = [SimpleNamespace(extra=payload) for payload in payloads]
        self.came: list[Any] = []

    def consume_input(self) -> None:
        self.came += self.coming
        self.coming = []

    def notifies(self) -> Any:
        return self.came.pop(0) if self.came else None


@pytest.mark.parametrize(
    "raw",
    [Psycopg2("mail", "mail", "images"), Psycopg3(b"mail", b"mail", b"images")],
    ids=["psycopg2", "psycopg3"],
)
def test_the_queues_that_were_notified_are_returned_once(raw):
    assert listening.queues_notified(connection_of(raw)) == {"mail", "images"}
    assert listening.queues_notified(connection_of(raw)) == set()


class Lost:
    def poll(self) -> None:
        raise RuntimeError("server closed the connection unexpectedly")


@pytest.mark.parametrize(
    ("raw", "message"),
    [(Lost(), "server closed the connection unexpectedly"), (None, "the connection is closed")],
)
def test_a_lost_or_closed_connection_raises_djangos_error(raw, message):
    with pytest.raises(OperationalError, match=message):
        listening.queues_notified(connection_of(raw))
