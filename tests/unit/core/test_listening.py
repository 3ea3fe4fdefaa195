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
    ("is_psycopg3", "raw"),
    [(False, Psycopg2("mail", "mail", "images")), (True, Psycopg3(b"mail", b"mail", b"images"))],
    ids=["psycopg2", "psycopg3"],
)
def test_the_queues_that_were_notified_are_told_once(is_psycopg3, raw, monkeypatch):
    monkeypatch.setattr(listening, "is_psycopg3", is_psycopg3)

    assert listening.queues_notified(connection_of(raw)) == {"mail", "images"}
    assert listening.queues_notified(connection_of(raw)) == set()


def test_a_lost_connection_is_told_as_djangos_error(monkeypatch):
    class Gone:
        def poll(self) -> None:
            raise RuntimeError("server closed the connection unexpectedly")

    monkeypatch.setattr(listening, "is_psycopg3", False)

    with pytest.raises(OperationalError, match="server closed the connection unexpectedly"):
        listening.queues_notified(connection_of(Gone()))


def test_a_closed_connection_is_told_as_djangos_error():
    with pytest.raises(OperationalError, match="the connection is closed"):
        listening.queues_notified(connection_of(None))
