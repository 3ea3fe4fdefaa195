"""A control notification is sent with the commit, and names the schema and queue to look at."""

import contextlib

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute
from django_partisan.sql.control import CONTROL_CHANNEL, Control, decoded, notify_control
from django_partisan.sql.listening import Listener
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def received(listener: Listener) -> list[Control | None]:
    """Return the control messages received before a marker that this function sends."""
    execute(connection, "SELECT pg_notify(%s, 'end')", (CONTROL_CHANNEL,))
    payloads: set[str] = set()

    def has_ended() -> bool:
        payloads.update(listener.take().get(CONTROL_CHANNEL, ()))
        return "end" in payloads

    wait_until(has_ended)
    return [decoded(payload) for payload in payloads - {"end"}]


def test_it_is_sent_with_the_commit_and_says_where_to_look(second: BaseDatabaseWrapper):
    listener = Listener(second, CONTROL_CHANNEL)

    with transaction.atomic():
        notify_control(connection, "mail", "pause")
        during = listener.take()

    assert during == {}
    assert received(listener) == [Control("public", "mail", "pause")]


def test_one_that_is_rolled_back_is_not_sent(second: BaseDatabaseWrapper):
    listener = Listener(second, CONTROL_CHANNEL)

    with contextlib.suppress(KeyError), transaction.atomic():
        notify_control(connection, "mail", "pause")
        raise KeyError

    assert received(listener) == []
