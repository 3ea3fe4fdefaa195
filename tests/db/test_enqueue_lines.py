"""What an application logs about the tasks that it enqueues, and which context is stored with them."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.db import DataError, connection, transaction

from django_partisan import logs, registry
from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.support.registry import Idle

pytestmark = pytest.mark.django_db(transaction=True)


class SendLetter(Idle):
    pass


class Parcel(Idle):
    pass


@pytest.fixture(autouse=True)
def logged(own_registry: None, no_subscribers: None, caplog) -> Iterator[None]:
    registry.register(SendLetter)
    registry.register(Parcel)
    logs.install()
    with caplog.at_level(logging.INFO, "django_partisan"):
        yield


def actions(caplog) -> list[str]:
    return [vars(record)["event.action"] for record in caplog.records]


def test_an_enqueued_task_is_told_after_the_commit(caplog):
    with transaction.atomic():
        task = SendLetter(1).delay()
        told_before = actions(caplog)

    assert told_before == []
    assert actions(caplog) == ["task.enqueued"]
    assert vars(caplog.records[0])["partisan.task.id"] == str(task.pk)


def test_many_tasks_at_once_are_one_line_after_the_commit_and_each_is_one_at_debug(caplog):
    waiting = SendLetter(0).delay()
    caplog.clear()
    with transaction.atomic():
        bulk_delay(SendLetter(number) for number in (0, 1, 2))
        before_the_commit = actions(caplog)
    at_info = list(caplog.records)
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "django_partisan"):
        bulk_delay([SendLetter(3), SendLetter(0), Parcel(1)])

    assert before_the_commit == []
    [line] = at_info
    assert line.getMessage() == "Enqueued 2 tasks of SendLetter, 1 was waiting already"
    assert (vars(line)["partisan.enqueue.count"], vars(line)["partisan.enqueue.deduplicated"]) == (2, 1)
    assert actions(caplog) == ["task.bulk_enqueued", "task.enqueued", "task.deduplicated", "task.enqueued"]
    assert [record.levelname for record in caplog.records] == ["INFO", "DEBUG", "DEBUG", "DEBUG"]
    assert caplog.records[0].getMessage() == "Enqueued 2 tasks of several processors, 1 was waiting already"
    assert vars(caplog.records[2])["partisan.task.id"] == str(waiting.pk)


def test_a_task_that_is_rolled_back_is_never_told(caplog):
    with pytest.raises(RuntimeError), transaction.atomic():
        SendLetter(1).delay()
        raise RuntimeError

    assert actions(caplog) == []


def test_a_twin_is_told_as_such(caplog):
    SendLetter(1).delay()
    SendLetter(1).delay()

    assert actions(caplog) == ["task.enqueued", "task.deduplicated"]


def test_an_enqueue_that_fails_is_told_as_an_error(caplog):
    def refuse(*_: Any) -> Any:
        raise DataError("disk full")

    with pytest.raises(DataError), connection.execute_wrapper(refuse):
        SendLetter(1).delay()

    assert actions(caplog) == ["task.enqueue_failed"]
    assert caplog.records[0].levelno == logging.ERROR
    assert vars(caplog.records[0])["error.type"] == "django.db.utils.DataError"


def test_carried_context_is_stored_with_the_task(caplog):
    structlog.contextvars.bind_contextvars(request_id="r\0 1", user_id=7, other="stays")

    task = SendLetter(1).delay()

    stored = Task.objects.get(pk=task.pk).context or {}
    assert {name: value for name, value in stored.items() if name.startswith("ctx.")} == {
        "ctx.request_id": "r 1",
        "ctx.user_id": "7",
    }
    assert vars(caplog.records[0])["labels.other"] == "stays"
