"""A sleeping manager is notified of new tasks, after their commit; nobody else is."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_partisan.processor import BaseTaskProcessor, bulk_delay
from django_partisan.sql.claiming import set_sleeping
from django_partisan.sql.connection import execute, open_connection
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.listening import listen, queues_notified

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("two_queues")]

DEADLINE_SECONDS = 10.0


class Letter(BaseTaskProcessor):
    pass


class Mailed(BaseTaskProcessor):
    QUEUE_NAME = "mail"


@pytest.fixture
def two_queues() -> Iterator[None]:
    with override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}}):
        yield


@pytest.fixture
def listener(second: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    listen(second)
    return second


def heard_until_the_end(listener: BaseDatabaseWrapper) -> set[str]:
    """Return what was notified up to now: a notification of our own comes after it all."""
    execute(connection, "SELECT pg_notify(%s, 'the end')", (CHANNEL,))
    heard: set[str] = set()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while "the end" not in heard:
        assert time.monotonic() < deadline
        heard |= queues_notified(listener)
    return heard - {"the end"}


def enqueue(processors: Iterable[BaseTaskProcessor], many: bool) -> None:
    if many:
        bulk_delay(processors)
    else:
        for processor in processors:
            processor.delay()


@pytest.mark.parametrize("many", [False, True], ids=["delay", "bulk_delay"])
def test_a_manager_that_sleeps_is_notified_of_its_queue_only(many, listener, manager):
    set_sleeping(connection, manager("mail"), True)
    manager("default")

    enqueue([Letter(1), Mailed(1)], many)

    assert heard_until_the_end(listener) == {"mail"}


@pytest.mark.parametrize("many", [False, True], ids=["delay", "bulk_delay"])
def test_while_no_manager_sleeps_nobody_is_notified(many, listener, manager):
    manager("mail")

    enqueue([Mailed(1)], many)

    assert heard_until_the_end(listener) == set()


@pytest.mark.parametrize("many", [False, True], ids=["delay", "bulk_delay"])
def test_inside_a_transaction_the_notification_comes_after_the_commit(many, listener, manager):
    set_sleeping(connection, manager("mail"), True)

    with transaction.atomic():
        enqueue([Mailed(1)], many)
        during = queues_notified(listener)

    assert during == set()
    assert heard_until_the_end(listener) == {"mail"}


@pytest.mark.parametrize("many", [False, True], ids=["delay", "bulk_delay"])
def test_a_manager_that_fell_asleep_during_the_transaction_is_notified_too(many, listener, manager):
    one = manager("mail")
    other = open_connection("another")
    try:
        with transaction.atomic():
            enqueue([Mailed(1)], many)
            set_sleeping(other, one, True)
    finally:
        other.close()

    assert heard_until_the_end(listener) == {"mail"}


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


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_wake_up_along(listener, manager):
    one = manager("mail")
    other = open_connection("another")
    try:
        with transaction.atomic():
            with contextlib.suppress(KeyError), transaction.atomic():
                Mailed(1).delay()
                raise KeyError
            Mailed(2).delay()
            set_sleeping(other, one, True)
    finally:
        other.close()

    assert heard_until_the_end(listener) == {"mail"}


@pytest.mark.parametrize("many", [False, True], ids=["delay", "bulk_delay"])
def test_of_a_task_that_is_rolled_back_nobody_is_notified(many, listener, manager):
    set_sleeping(connection, manager("mail"), True)

    with pytest.raises(KeyError), transaction.atomic():
        enqueue([Mailed(1)], many)
        raise KeyError

    assert heard_until_the_end(listener) == set()


def test_a_scheduled_task_and_a_twin_wake_the_manager_too(listener, manager):
    Mailed(1).delay()
    set_sleeping(connection, manager("mail"), True)

    Mailed(1).delay()

    assert heard_until_the_end(listener) == {"mail"}


def test_a_listener_whose_connection_was_ended_is_told(listener):
    execute(
        connection,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'django_partisan second' AND datname = current_database()",
    )

    deadline = time.monotonic() + DEADLINE_SECONDS
    with pytest.raises(OperationalError):
        while time.monotonic() < deadline:
            queues_notified(listener)


def test_a_connection_of_ours_is_named_unpooled_and_in_autocommit(second):
    with second.cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name'), current_database()")
        name, database = cursor.fetchone()

    assert name == "django_partisan second"
    assert database == connection.settings_dict["NAME"]
    assert second.get_autocommit()
    assert "pool" not in second.settings_dict["OPTIONS"]
    assert second.settings_dict["CONN_MAX_AGE"] is None
