"""A sleeping manager is notified of new tasks, after their commit; no one else is."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay
from django_partisan.sql.claiming import ID, TOKEN, set_sleeping
from django_partisan.sql.connection import execute, open_connection
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.listening import Listener
from django_partisan.sql.settling import release
from tests.support.registry import Idle
from tests.support.rows import claim, insert
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("two_queues")]
one_or_many = pytest.mark.parametrize("many", [False, True], ids=["delay", "bulk_delay"])


class Letter(Idle):
    pass


class Mailed(Idle):
    QUEUE_NAME = "mail"


@pytest.fixture
def two_queues() -> Iterator[None]:
    with override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}}):
        yield


@pytest.fixture
def listener(second: BaseDatabaseWrapper) -> Listener:
    return Listener(second, CHANNEL)


@pytest.fixture
def other() -> Iterator[BaseDatabaseWrapper]:
    """A connection that commits while the test's transaction is open."""
    opened = open_connection("another")
    yield opened
    opened.close()


def received_until_the_end(listener: Listener) -> set[str]:
    """Return the notifications received before a marker that this function sends."""
    execute(connection, "SELECT pg_notify(%s, 'the end')", (CHANNEL,))
    received: set[str] = set()

    def has_ended() -> bool:
        received.update(listener.take().get(CHANNEL, ()))
        return "the end" in received

    wait_until(has_ended)
    return received - {"the end"}


def test_released_tasks_wake_a_manager_of_their_queue_that_sleeps(listener, manager):
    one, other = manager("mail"), manager("mail")
    manager("default")
    for queue in ("default", "mail", "mail"):
        insert(queue)
    mine = claim(connection, "default", ManagerLease.objects.get(queue_name="default").pk, 9)
    mail = claim(connection, "mail", other, 9)

    set_sleeping(connection, one, True)
    assert release(connection, [(row[ID], row[TOKEN]) for row in mine]) == []
    while_others_sleep = received_until_the_end(listener)
    release(connection, [(row[ID], row[TOKEN]) for row in mail])

    assert (while_others_sleep, received_until_the_end(listener)) == (set(), {"mail"})


def enqueue(processors: Iterable[BaseTaskProcessor], many: bool) -> None:
    if many:
        bulk_delay(processors)
    else:
        for processor in processors:
            processor.delay()


@one_or_many
def test_a_manager_that_sleeps_is_notified_of_its_queue_only(many, listener, manager):
    one = manager("mail")
    manager("default")

    enqueue([Letter(1), Mailed(1)], many)
    while_none_sleeps = received_until_the_end(listener)
    set_sleeping(connection, one, True)
    enqueue([Letter(2), Mailed(2)], many)

    assert (while_none_sleeps, received_until_the_end(listener)) == (set(), {"mail"})


@one_or_many
@pytest.mark.parametrize("sleeps_before", [True, False])
def test_a_manager_that_sleeps_at_the_commit_is_notified_after_it(
    many, sleeps_before, listener, manager, other
):
    one = manager("mail")
    set_sleeping(connection, one, sleeps_before)

    with transaction.atomic():
        enqueue([Mailed(1)], many)
        set_sleeping(other, one, True)
        during = listener.take()

    assert during == {}
    assert received_until_the_end(listener) == {"mail"}


@pytest.mark.parametrize("many_before", [False, True])
@one_or_many
def test_what_was_enqueued_before_a_transaction_takes_no_notification_from_it(
    many, many_before, listener, manager, other
):
    one = manager("mail")
    enqueue([Mailed(1)], many_before)

    with transaction.atomic():
        enqueue([Mailed(2)], many)
        set_sleeping(other, one, True)

    assert received_until_the_end(listener) == {"mail"}


def test_many_tasks_of_one_transaction_ask_once_who_sleeps():
    asked = []

    def count(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.lstrip().startswith("SELECT pg_notify"):
            asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(count), transaction.atomic():
        for number in range(3):
            Letter(number).delay()
            with transaction.atomic():
                Letter(number, "inside").delay()

    assert len(asked) == 1


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_wake_up_along(listener, manager, other):
    one = manager("mail")

    with transaction.atomic():
        with contextlib.suppress(KeyError), transaction.atomic():
            Mailed(1).delay()
            raise KeyError
        Mailed(2).delay()
        set_sleeping(other, one, True)

    assert received_until_the_end(listener) == {"mail"}


@one_or_many
def test_of_a_task_that_is_rolled_back_nobody_is_notified(many, listener, manager):
    set_sleeping(connection, manager("mail"), True)

    with pytest.raises(KeyError), transaction.atomic():
        enqueue([Mailed(1)], many)
        raise KeyError

    assert received_until_the_end(listener) == set()


def test_a_scheduled_task_and_a_twin_wake_the_manager_too(listener, manager):
    Mailed(1).delay()
    set_sleeping(connection, manager("mail"), True)

    Mailed(1).delay()

    assert received_until_the_end(listener) == {"mail"}


def test_a_listener_whose_connection_was_ended_is_told(listener):
    execute(
        connection,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'django_partisan second' AND datname = current_database()",
    )

    with pytest.raises(OperationalError):
        wait_until(lambda: listener.take())


def test_a_connection_of_ours_is_named_unpooled_and_in_autocommit(second):
    with second.cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name'), current_database()")
        name, database = cursor.fetchone()

    assert name == "django_partisan second"
    assert database == connection.settings_dict["NAME"]
    assert second.get_autocommit()
    assert "pool" not in second.settings_dict["OPTIONS"]
    assert second.settings_dict["CONN_MAX_AGE"] is None


def test_requeued_tasks_wake_a_manager_of_their_queue_that_sleeps(listener, manager):
    insert("mail")
    insert("default")
    set_sleeping(connection, manager("mail"), True)
    Task.objects.update(status="error")

    with transaction.atomic():
        assert Task.objects.requeue() == 2
        heard_before = listener.take()

    assert not heard_before
    assert received_until_the_end(listener) == {"mail"}
