"""Users' own tests run tasks in their own process and transaction."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.engine.inline import InlineManager
from django_partisan.exceptions import PostponeTask, UnknownQueue, UnregisteredTask, WrongSetting
from django_partisan.models import ManagerLease, Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry.events.runs import TransactionLeftOpen
from django_partisan.telemetry.events.tasks import TaskExpired
from django_partisan.testing import drain, run_pending
from tests.support.events import RecordedEvents
from tests.support.waiting import wait_until

RUNS: list[Any] = []
HOUR = timedelta(hours=1)


class Recorded(BaseTaskProcessor):
    """Record each run, then do what the first argument says."""

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

    def enqueue_the_later_and_break_down(self) -> None:
        type(self)("later").delay()
        raise KeyError("broken")

    def press_control_c(self) -> None:
        raise KeyboardInterrupt

    def leave_a_transaction_open(self) -> None:
        transaction.atomic().__enter__()
        self.write()

    def turn_autocommit_off(self) -> None:
        transaction.set_autocommit(False)

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
    """The whole test runs in one transaction."""

    def test_a_due_task_runs_and_is_returned_and_settled(self) -> None:
        task = Recorded("nothing", to="Ada").delay()

        [ran] = run_pending()

        task.refresh_from_db()
        assert ran == (task.pk, "Recorded", ["nothing"], {"to": "Ada"}, "completed", None, None, None)
        assert (task.status, task.attempts) == ("finished", 1)
        assert not ManagerLease.objects.exists()


class InATransactionTestCase(TransactionTestCase):
    """Every statement is its own transaction, as in a worker."""

    def test_tasks_run_as_they_do_in_a_worker(self) -> None:
        Recorded("write").delay()
        Recorded("break_the_transaction").delay()
        Whole("nothing").delay()
        Recorded("enqueue_the_same_and_postpone").delay(priority=99)

        ran = run_pending(raise_errors=False)

        assert sorted(outcomes(ran)) == ["completed", "completed", "failed", "postponed"]
        assert Group.objects.count() == 2
        assert Task.objects.waiting().count() == 2
        assert not ManagerLease.objects.exists()


@pytest.mark.django_db
def test_a_task_that_has_expired_does_not_run_and_raises_nothing(recorded_events: RecordedEvents):
    past = Recorded("nothing").delay(expires=timezone.now() - HOUR)
    task = Recorded("postpone").delay(expires=HOUR)

    [expired, first] = run_pending()
    [second] = run_pending(now=timezone.now() + 2 * HOUR)

    assert (expired.task_id, expired.outcome, expired.reason) == (past.pk, "failed", "expired")
    assert expired.error is not None
    assert expired.error.type == "django_partisan.exceptions.TaskExpired"
    assert [first.outcome, second.outcome] == ["postponed", "postponed"]  # a started task does not expire
    assert RUNS == ["postpone", "postpone"]
    assert [event.task.id for event in recorded_events.of(TaskExpired)] == [past.pk]
    past.refresh_from_db()
    task.refresh_from_db()
    assert (past.status, past.error_reason, past.attempts, task.status) == ("error", "expired", 0, "new")


@pytest.mark.django_db
def test_a_task_that_expires_between_its_claim_and_its_start_does_not_run():
    task = Recorded("nothing").delay(expires=1)
    with InlineManager() as manager:
        [row] = manager.claim_due(None)
        wait_until(lambda: task.expires_at is not None and timezone.now() > task.expires_at)

        ran = manager.run(row, raise_errors=True)

    assert (ran.outcome, ran.reason, RUNS) == ("failed", "expired", [])


@pytest.mark.django_db
def test_at_another_time_a_task_has_expired_that_expires_up_to_it():
    Recorded("nothing").delay(expires=HOUR)
    Recorded("nothing", 2).delay()
    now = timezone.now() + 2 * HOUR

    assert outcomes(drain(now=now)) == ["failed", "completed"]


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

    [ran] = run_pending(raise_errors=False)

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

    [ran] = run_pending(raise_errors=False)

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

    ran = run_pending(raise_errors=False)

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

    ran = drain(now=timezone.now() + 24 * HOUR, raise_errors=False)

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

    with pytest.raises(UnregisteredTask, match="No processor is registered as 'Forgotten'"):
        run_pending()

    Task.objects.update(status="new", ready=True)
    [ran] = run_pending(raise_errors=False)
    assert (ran.processor, ran.reason) == ("Forgotten", "unregistered")


@pytest.mark.django_db
@pytest.mark.parametrize("run", [run_pending, drain])
def test_a_wrong_attribute_of_a_processor_is_refused_as_a_manager_does(run):
    registry.register(type("Wrong", (Mailed,), {"RETRY_ON_ERROR_CONFIG": {"retries_count": 3}}))
    Recorded("nothing").delay()

    with pytest.raises(WrongSetting, match=r"Wrong\.RETRY_ON_ERROR_CONFIG is {'retries_count': 3}; expected"):
        run()
    assert Task.objects.waiting().count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("run", [run_pending, drain])
def test_the_error_that_fails_a_task_is_raised_and_tasks_that_did_not_start_wait_as_before(run):
    Recorded("write_and_break_down").delay(priority=1)
    later = Recorded("nothing").delay(priority=2)

    with pytest.raises(KeyError, match="broken") as caught:
        run()

    failed = Task.objects.get(status="error")
    assert (failed.error_reason, failed.attempts) == ("error", 1)
    assert caught.traceback[-1].name == "write_and_break_down"
    if hasattr(caught.value, "__notes__"):  # from Python 3.11 on
        [note] = caught.value.__notes__
        assert note.startswith(
            f"Task {failed.pk} (Recorded, args ['write_and_break_down'], kwargs {{}}) failed"
        )
    later.refresh_from_db()
    assert (later.status, later.ready, later.attempts) == ("new", True, 0)
    assert not ManagerLease.objects.exists()
    assert outcomes(run()) == ["completed"]


@pytest.mark.django_db
def test_tasks_that_did_not_start_wait_beside_duplicates_that_were_enqueued_meanwhile():
    Recorded("enqueue_the_later_and_break_down").delay(priority=1)
    Recorded("later").delay(priority=2)

    with pytest.raises(KeyError):
        run_pending()

    assert Task.objects.waiting().count() == 2
    assert outcomes(drain()) == ["completed"] * 2


@pytest.mark.django_db
@pytest.mark.parametrize("run", [run_pending, drain])
def test_an_error_that_leads_to_a_retry_is_not_raised(run):
    Recorded("lose_the_net").delay()

    assert outcomes(run()) == ["retried"]


@pytest.mark.django_db
def test_the_last_error_of_a_task_that_is_retried_up_to_its_limit_is_raised():
    Recorded("lose_the_net").delay()

    with pytest.raises(ConnectionError, match="no net"):
        drain(now=timezone.now() + 24 * HOUR)

    assert Task.objects.get().error_reason == "retries_exhausted"


@pytest.mark.django_db
def test_an_interruption_from_the_keyboard_is_always_raised_and_the_task_has_failed():
    Recorded("press_control_c").delay()

    with pytest.raises(KeyboardInterrupt):
        drain(raise_errors=False)

    assert Task.objects.get().error_type == "KeyboardInterrupt"


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_a_run_leaves_open_is_rolled_back_and_reported(diary):
    Recorded("leave_a_transaction_open").delay()
    Recorded("turn_autocommit_off").delay(priority=99)

    assert outcomes(drain()) == ["completed"] * 2

    assert connection.get_autocommit()
    assert not Group.objects.exists()
    assert [event.database for event in diary.of(TransactionLeftOpen)] == ["default"]
