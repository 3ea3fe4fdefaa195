"""Managers see a changed schedule once it is committed, and leave the row alone until then."""

from collections.abc import Iterator

import pytest
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.models import Schedule
from django_partisan.sql.connection import fetch_all, open_connection
from django_partisan.sql.control import CONTROL_CHANNEL, EVERY_QUEUE, decoded
from django_partisan.sql.listening import Listener
from tests.support.schedule_rows import made
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

FREE = "SELECT name, priority FROM django_partisan_schedule FOR UPDATE SKIP LOCKED"


@pytest.fixture
def second(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A second connection, like a manager's; both see only committed rows of each other."""
    connection = open_connection("second")
    yield connection
    connection.close()


def test_a_change_counts_with_the_commit_and_notifies_the_managers_of_every_queue(
    second: BaseDatabaseWrapper,
):
    listener = Listener(second, CONTROL_CHANNEL)

    with transaction.atomic():
        made(priority=1)
        during = (fetch_all(second, FREE), listener.take())

    assert during == ([], {})
    assert fetch_all(second, FREE) == [("nightly", 1)]
    payloads = wait_until(lambda: listener.take().get(CONTROL_CHANNEL))
    assert payloads is not None
    assert {(one.queue, one.look) for one in map(decoded, payloads) if one} == {(EVERY_QUEUE, "schedule")}


def test_a_row_that_is_saved_is_locked_until_the_commit(second: BaseDatabaseWrapper):
    row = made(priority=1)

    with transaction.atomic():
        row.comment = "mind the gap"
        row.save()
        during = fetch_all(second, FREE)

    assert during == []
    assert fetch_all(second, FREE) == [("nightly", 1)]
    assert Schedule.objects.get().comment == "mind the gap"
