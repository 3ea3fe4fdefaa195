"""``delay_on_commit()`` enqueues after the caller's transaction, and holds no locks inside it."""

from collections.abc import Iterator
from contextvars import ContextVar
from datetime import datetime, timezone

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings

from django_partisan.exceptions import UnknownQueue
from django_partisan.models import Task
from django_partisan.sql.connection import execute
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.tasks import TaskDeduplicated, TaskEnqueued, TaskEnqueueFailed
from tests.support.database import this_database
from tests.support.events import subscribed
from tests.support.registry import Idle
from tests.support.rows import columns

pytestmark = pytest.mark.django_db(transaction=True)

LATER = datetime(2999, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


class Letter(Idle):
    PRIORITY = 5


def test_the_task_is_enqueued_after_the_commit(recorded_events):
    with transaction.atomic():
        Letter(1).delay_on_commit()
        inside = Task.objects.count()

    [task] = Task.objects.all()
    assert inside == 0
    assert task.arguments == {"args": [1], "kwargs": {}}
    assert [event.task.id for event in recorded_events.of(TaskEnqueued)] == [task.pk]


def test_after_a_rollback_there_is_no_task():
    with pytest.raises(KeyError), transaction.atomic():
        Letter(1).delay_on_commit()
        raise KeyError

    assert not Task.objects.exists()


def test_without_a_transaction_it_is_enqueued_at_once():
    Letter(1).delay_on_commit()

    assert Task.objects.count() == 1


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_it_takes_the_options_of_delay():
    with transaction.atomic():
        Letter(1).delay_on_commit(priority=3, execute_after=LATER, queue_name="mail")

    [task] = Task.objects.all()
    assert (task.priority, task.execute_after, task.queue_name) == (3, LATER, "mail")


def test_what_cannot_be_stored_is_refused_before_the_commit():
    with transaction.atomic():
        with pytest.raises(TypeError, match=r"Letter: argument args\[0\] is"):
            Letter(object()).delay_on_commit()
        with pytest.raises(UnknownQueue, match="Unknown queue 'nowhere'"):
            Letter(1).delay_on_commit(queue_name="nowhere")

    assert not Task.objects.exists()


def test_later_changes_of_the_arguments_make_no_difference():
    items = [1]
    with transaction.atomic():
        Letter(items).delay_on_commit()
        items.append(2)

    assert Task.objects.get().arguments["args"] == [[1]]


def test_two_transactions_that_enqueue_the_same_tasks_in_opposite_order_do_not_wait(second, recorded_events):
    """With ``delay()``, one would wait until the other ends, or PostgreSQL would end one of them."""
    Letter(1).delay()
    recorded_events.events.clear()
    execute(connection, "SET lock_timeout = '1s'")
    with transaction.atomic():
        Letter(2).delay_on_commit()
        Letter(1).delay_on_commit()
        execute(second, "SET lock_timeout = '1s'; UPDATE django_partisan_task SET priority = 7")

    assert columns(Task.objects.order_by("pk")[0].pk, "priority") == 7
    assert len(recorded_events.of(TaskDeduplicated)) == 1
    assert Task.objects.count() == 2


def test_it_carries_the_context_of_the_call():
    request: ContextVar[str] = ContextVar("request", default="none")

    class Carrying(bus.Subscriber):
        def headers(self) -> dict[str, str]:
            return {"request": request.get()}

    with subscribed(Carrying()), transaction.atomic():
        token = request.set("r-17")
        Letter(1).delay_on_commit()
        request.reset(token)

    assert columns(Task.objects.get().pk, "context") == {"request": "r-17"}


class OfDjangosTest(TestCase):
    """A transaction that is never committed."""

    def test_callbacks_are_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            Letter(1).delay_on_commit()

        assert callbacks
        assert Task.objects.count() == 1


class OfTwoDatabasesTest(TransactionTestCase):
    """The project's own data is in a different database from the tasks."""

    databases = {"default", "shop"}

    @classmethod
    def setUpClass(cls) -> None:
        connections.settings["shop"] = {**connections.settings["default"], **this_database()}
        cls.addClassCleanup(cls.forget_database)
        super().setUpClass()

    @classmethod
    def forget_database(cls) -> None:
        connections["shop"].close()
        del connections["shop"]
        del connections.settings["shop"]

    def test_the_transaction_of_another_database_can_be_awaited(self) -> None:
        with transaction.atomic(using="shop"):
            Letter(1).delay_on_commit(using="shop")
            inside = Task.objects.count()

        assert (inside, Task.objects.count()) == (0, 1)


@pytest.fixture
def refused() -> Iterator[None]:
    """Make the table refuse the tasks of ``Refused``."""
    check = "CHECK (processor_class <> 'Refused')"
    execute(connection, f"ALTER TABLE django_partisan_task ADD CONSTRAINT refused {check}")
    yield
    execute(connection, "ALTER TABLE django_partisan_task DROP CONSTRAINT refused")


class Refused(Idle):
    """A processor whose name the table refuses."""


@pytest.mark.usefixtures("refused")
def test_what_fails_at_the_commit_is_reported_and_the_other_tasks_are_enqueued(recorded_events, caplog):
    with transaction.atomic():
        Refused().delay_on_commit()
        Letter(1).delay_on_commit()

    assert [task.processor_class for task in Task.objects.all()] == ["Letter"]
    assert [event.processor for event in recorded_events.of(TaskEnqueueFailed)] == ["Refused"]
    assert 'violates check constraint "refused"' in caplog.text


@pytest.mark.usefixtures("refused")
def test_what_fails_without_a_transaction_is_raised():
    with pytest.raises(IntegrityError, match="refused"):
        Refused().delay_on_commit()
