"""Users' own tests run tasks in their process and their transaction."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.exceptions import PostponeTask, UnknownQueue, WrongSetting
from django_partisan.models import ManagerLease, Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.testing import drain, run_pending

RUNS: list[Any] = []
HOUR = timedelta(hours=1)


class Recorded(BaseTaskProcessor):
    """Note each run, then do what the first argument says."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=1, retry_pause=30)
    POSTPONE_CONFIG = PostponeConfig(max_postpones=2)

    def run(self) -> None:
        RUNS.append(self.args[0])
        getattr(self, str(self.args[0]), str)()

    def postpone(self) -> None:
        raise PostponeTask(60)

    def lose_the_net(self) -> None:
        raise ConnectionError("no net")

    def enqueue_another(self) -> None:
        type(self)("enqueued").delay()

    def enqueue_the_same(self) -> None:
        type(self)("enqueue_the_same").delay()

    def enqueue_the_same_and_postpone(self) -> None:
        type(self)("enqueue_the_same_and_postpone").delay()
        raise PostponeTask(0)

    def break_the_transaction(self) -> None:
        Group.objects.create(name="written before")
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    def swallow_an_error_inside_atomic(self) -> None:
        try:
            with transaction.atomic(savepoint=False):
                Group.objects.create(pk="no number")
        except ValueError:
            pass

    def write(self) -> None:
        Group.objects.create(name="written")

    def write_durably(self) -> None:
        with transaction.atomic(durable=True):
            self.write()

    def write_and_break_down(self) -> None:
        self.write()
        raise KeyError("broken")

    def settle_by_itself(self) -> None:
        Task.objects.filter(pk=self.task.id).delete()


class Whole(Recorded):
    ATOMIC = True


class Asynchronous(BaseTaskProcessor):
    """Write through Django's asynchronous ORM, then do what the first argument says."""

    RETRY_ON_ERROR_CONFIG = Recorded.RETRY_ON_ERROR_CONFIG

    async def run(self) -> Any:
        await Group.objects.acreate(name="written")
        RUNS.append(await Group.objects.acount())
        if self.args[0] == "postpone":
            raise PostponeTask(60)
        if self.args[0] == "lose_the_net":
            raise ConnectionError("no net")
        if self.args[0] == "fail":
            raise KeyError("broken")
        if self.args[0] == "enqueue_another":
            await Recorded("enqueued").adelay()
        return Group.objects.acount() if self.args[0] == "forget_to_await" else None


class AsynchronousAndWhole(Asynchronous):
    ATOMIC = True


class Mailed(Recorded):
    QUEUE_NAME = "mail"


@pytest.fixture(autouse=True)
def no_runs_yet() -> None:
    RUNS.clear()


def outcomes(ran: Any) -> list[str]:
    return [one.outcome for one in ran]


class InATestCase(TestCase):
    """The whole test is one transaction."""

    def test_a_due_task_runs_and_is_returned_and_settled(self) -> None:
        task = Recorded("nothing", to="Ada").delay()

        [ran] = run_pending()

        task.refresh_from_db()
        assert ran == (task.pk, "Recorded", ["nothing"], {"to": "Ada"}, "completed", None, None, None)
        assert (task.status, task.attempts) == ("finished", 1)
        assert not ManagerLease.objects.exists()


class InATransactionTestCase(TransactionTestCase):
    """Every statement is a transaction of its own, as in a worker."""

    def test_tasks_run_as_they_do_in_a_worker(self) -> None:
        Recorded("write").delay()
        Recorded("break_the_transaction").delay()
        Whole("nothing").delay()
        Recorded("enqueue_the_same_and_postpone").delay(priority=99)

        ran = run_pending()

        assert sorted(outcomes(ran)) == ["completed", "completed", "failed", "postponed"]
        assert Group.objects.count() == 2
        assert Task.objects.waiting().count() == 2
        assert not ManagerLease.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("processor", "action", "outcome", "groups"),
    [
        (Recorded, "postpone", ("postponed", 60, None, None), 0),
        (Recorded, "lose_the_net", ("retried", 30, None, "ConnectionError: no net"), 0),
        (Recorded, "write_durably", ("completed", None, None, None), 1),
        (Recorded, "write_and_break_down", ("failed", None, "error", "KeyError: 'broken'"), 1),
        (Whole, "write_and_break_down", ("failed", None, "error", "KeyError: 'broken'"), 0),
        (Whole, "write", ("completed", None, None, None), 1),
        (Recorded, "swallow_an_error_inside_atomic", ("completed", None, None, None), 0),
        (Recorded, "settle_by_itself", ("claim_lost", None, None, None), 0),
        (Whole, "settle_by_itself", ("claim_lost", None, None, None), 0),
    ],
)
def test_a_run_is_returned_with_its_outcome_and_its_writes_stay_as_in_a_worker(
    processor, action, outcome, groups
):
    processor(action).delay()

    [ran] = run_pending()

    error = ran.error and f"{ran.error.type}: {ran.error.message}"
    assert (ran.outcome, ran.delay_seconds, ran.reason, error) == outcome
    assert Group.objects.count() == groups
    assert ran.error is None or f"in {action}" in ran.error.stack_trace


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("action", "outcome", "error"),
    [
        ("nothing", "completed", None),
        ("enqueue_another", "completed", None),
        ("postpone", "postponed", None),
        ("lose_the_net", "retried", "ConnectionError"),
        ("fail", "failed", "KeyError"),
        ("forget_to_await", "failed", "django_partisan.exceptions.RunNotExecuted"),
    ],
)
@pytest.mark.parametrize("processor", [Asynchronous, AsynchronousAndWhole])
def test_an_asynchronous_run_ends_as_any_other_and_is_in_the_transaction_of_an_atomic_task(
    processor, action, outcome, error
):
    processor(action).delay()

    [ran] = run_pending()

    assert (ran.outcome, ran.error and ran.error.type) == (outcome, error)
    assert RUNS == [1]
    assert Group.objects.count() == (processor is Asynchronous or outcome == "completed")
    assert Task.objects.waiting().filter(processor_class="Recorded").exists() == (action == "enqueue_another")


@pytest.mark.django_db
def test_an_asynchronous_run_is_in_the_transaction_of_the_test():
    Asynchronous("nothing").delay()

    assert outcomes(run_pending()) == ["completed"]
    assert connection.in_atomic_block
    assert RUNS == [Group.objects.count()] == [1]


@pytest.mark.django_db
def test_a_task_that_breaks_the_transaction_fails_alone():
    for number in range(2):
        Recorded("break_the_transaction", number).delay()
    Recorded("write").delay(priority=99)

    ran = run_pending()

    assert outcomes(ran) == ["failed", "failed", "completed"]
    assert "no_such_column" in str(ran[0].error)
    assert list(Group.objects.values_list("name", flat=True)) == ["written"]


@pytest.mark.django_db
def test_a_task_that_meets_a_duplicate_stays_in_the_table():
    Recorded("enqueue_the_same_and_postpone").delay()

    assert outcomes(run_pending()) == ["postponed"]
    assert Task.objects.waiting().count() == 2


@pytest.mark.django_db
def test_a_completed_task_is_deleted_where_the_settings_say_so(settings):
    settings.DELETE_TASKS_ON_COMPLETE = True
    Recorded("nothing").delay()

    assert outcomes(run_pending()) == ["completed"]
    assert not Task.objects.exists()


@pytest.mark.django_db
def test_due_tasks_run_in_the_order_of_a_manager_and_scheduled_ones_up_to_now():
    for priority in (5, 1, 3):
        Recorded(priority).delay(priority=priority)
    Recorded("soon").delay(execute_after=timezone.now() + HOUR)
    Recorded("later").delay(execute_after=timezone.now() + 3 * HOUR)

    run_pending()
    assert RUNS == [1, 3, 5]

    assert [one.args for one in run_pending(now=timezone.now() + 2 * HOUR)] == [["soon"]]
    assert drain() == []


@pytest.mark.django_db
@pytest.mark.parametrize(("run", "runs"), [(run_pending, 1), (drain, 2)])
def test_only_draining_runs_what_tasks_enqueue(run, runs):
    Recorded("enqueue_another").delay()

    assert outcomes(run()) == ["completed"] * runs
    assert Task.objects.waiting().exists() == (run is run_pending)


@pytest.mark.django_db
def test_draining_up_to_another_time_runs_retries_and_postpones_to_their_end():
    Recorded("lose_the_net").delay()
    Recorded("postpone").delay()

    ran = drain(now=timezone.now() + 24 * HOUR)

    assert sorted(outcomes(ran)) == ["failed", "failed", "postponed", "postponed", "retried"]
    assert {one.reason for one in ran} == {None, "retries_exhausted", "max_postpones"}


@pytest.mark.django_db
def test_draining_more_than_allowed_is_an_error_that_names_the_last_task():
    for number in range(5):
        Recorded(number).delay()
    assert len(drain(at_most=5)) == 5
    Recorded("enqueue_the_same").delay()

    with pytest.raises(
        AssertionError,
        match=r"still due after 5 runs; the last was Recorded with args .*, kwargs {}: completed",
    ):
        drain(at_most=5)


@pytest.mark.django_db
@override_settings(PARTISAN_CONFIG={"mail": {"DEFAULT_POSTPONES_COUNT": 1}})
def test_one_queue_runs_at_a_time_and_an_unknown_one_is_refused():
    Mailed("x").delay()
    Recorded("y").delay()

    assert [one.processor for one in run_pending("mail")] == ["Mailed"]
    assert [one.processor for one in drain()] == ["Recorded"]
    with pytest.raises(UnknownQueue):
        run_pending("male")


@pytest.mark.django_db
def test_a_task_of_an_unregistered_processor_fails():
    Recorded("nothing").delay()
    Task.objects.update(processor_class="Forgotten")

    [ran] = run_pending()

    assert (ran.processor, ran.reason) == ("Forgotten", "unregistered")


@pytest.mark.django_db
@pytest.mark.parametrize("run", [run_pending, drain])
def test_a_wrong_attribute_of_a_processor_is_refused_as_a_manager_does(run):
    registry.register(type("Wrong", (Mailed,), {"RETRY_ON_ERROR_CONFIG": {"retries_count": 3}}))
    Recorded("nothing").delay()

    with pytest.raises(WrongSetting, match=r"Wrong\.RETRY_ON_ERROR_CONFIG is {'retries_count': 3}; expected"):
        run()
    assert Task.objects.waiting().count() == 1
