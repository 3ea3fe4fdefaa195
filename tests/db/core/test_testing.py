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
from django_partisan.exceptions import PostponeTask, UnknownQueue
from django_partisan.models import ManagerLease, Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.testing import drain, run_pending

RUNS: list[Any] = []


class Recorded(BaseTaskProcessor):
    """Note each run, then do what the first argument says."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=1, retry_pause=30)
    POSTPONE_CONFIG = PostponeConfig(max_postpones=2)

    def run(self) -> None:
        RUNS.append(self.args)
        action = self.args[0] if self.args else None
        if callable(getattr(self, str(action), None)):
            getattr(self, str(action))()

    def postpone(self) -> None:
        raise PostponeTask(60)

    def lose_the_net(self) -> None:
        raise ConnectionError("no net")

    def break_down(self) -> None:
        raise KeyError("broken")

    def enqueue_another(self) -> None:
        type(self)("enqueued").delay()

    def enqueue_the_same(self) -> None:
        type(self)("enqueue_the_same").delay()

    def enqueue_the_same_and_postpone(self) -> None:
        if not Task.objects.waiting().exists():
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
            Group.objects.create(name="written")

    def write_and_break_down(self) -> None:
        Group.objects.create(name="written")
        raise KeyError("broken")

    def settle_by_itself(self) -> None:
        Task.objects.filter(pk=self.task.id).delete()


class Whole(Recorded):
    ATOMIC = True


class Mailed(Recorded):
    QUEUE_NAME = "mail"


@pytest.fixture(autouse=True)
def registered() -> None:
    RUNS.clear()
    for processor_class in (Recorded, Whole, Mailed):
        registry.register(processor_class)


def outcomes(ran: Any) -> list[str]:
    return [one.outcome for one in ran]


class InATestCase(TestCase):
    """The whole test is one transaction."""

    def test_a_due_task_runs_and_is_told_and_settled(self) -> None:
        task = Recorded("nothing", to="Ada").delay()

        [ran] = run_pending()

        task.refresh_from_db()
        assert ran == (task.pk, "Recorded", ["nothing"], {"to": "Ada"}, "completed", None, None, None)
        assert (task.status, task.attempts) == ("finished", 1)
        assert not ManagerLease.objects.exists()

    @override_settings(DELETE_TASKS_ON_COMPLETE=True)
    def test_a_completed_task_is_deleted_where_the_settings_say_so(self) -> None:
        Recorded().delay()
        Whole().delay()

        assert outcomes(run_pending()) == ["completed", "completed"]
        assert not Task.objects.exists()

    def test_where_nothing_is_due_nothing_runs(self) -> None:
        Recorded().delay(execute_after=timezone.now() + timedelta(hours=1))

        assert run_pending() == []
        assert drain() == []

    def test_tasks_run_in_the_order_of_a_manager(self) -> None:
        for priority in (5, 1, 3):
            Recorded(priority).delay(priority=priority)

        run_pending()

        assert RUNS == [(1,), (3,), (5,)]

    def test_scheduled_tasks_run_when_another_time_is_played(self) -> None:
        Recorded("soon").delay(execute_after=timezone.now() + timedelta(hours=1))
        Recorded("later").delay(execute_after=timezone.now() + timedelta(hours=3))

        assert [one.args for one in run_pending(now=timezone.now() + timedelta(hours=2))] == [["soon"]]

    def test_a_postponed_task_is_told_with_its_delay(self) -> None:
        Recorded("postpone").delay()

        [ran] = run_pending()

        assert (ran.outcome, ran.delay_seconds, ran.error) == ("postponed", 60, None)
        assert Task.objects.get().postpones == 1

    def test_a_retried_task_is_told_with_its_delay_and_error(self) -> None:
        Recorded("lose_the_net").delay()

        [ran] = run_pending()

        assert (ran.outcome, ran.delay_seconds) == ("retried", 30)
        assert ran.error is not None
        assert (ran.error.type, ran.error.message) == ("ConnectionError", "no net")

    def test_a_failed_task_is_told_with_its_reason_and_error(self) -> None:
        Recorded("break_down").delay()

        [ran] = run_pending()

        assert (ran.outcome, ran.reason, ran.delay_seconds) == ("failed", "error", None)
        assert ran.error is not None
        assert 'raise KeyError("broken")' in ran.error.stack_trace
        assert Task.objects.get().status == "error"

    def test_what_a_task_enqueues_waits_for_the_next_call(self) -> None:
        Recorded("enqueue_another").delay()

        run_pending()

        assert RUNS == [("enqueue_another",)]
        assert outcomes(run_pending()) == ["completed"]
        assert RUNS[1:] == [("enqueued",)]

    def test_draining_runs_what_tasks_enqueue_too(self) -> None:
        Recorded("enqueue_another").delay()

        assert outcomes(drain()) == ["completed", "completed"]
        assert not Task.objects.waiting().exists()

    def test_draining_up_to_another_time_runs_retries_and_postpones_to_their_end(self) -> None:
        Recorded("lose_the_net").delay()
        Recorded("postpone").delay()

        ran = drain(now=timezone.now() + timedelta(days=1))

        assert sorted(one.outcome for one in ran) == ["failed", "failed", "postponed", "postponed", "retried"]
        assert {one.reason for one in ran} == {None, "retries_exhausted", "max_postpones"}

    def test_draining_what_never_ends_is_an_error_that_names_the_last_task(self) -> None:
        Recorded("enqueue_the_same").delay()

        with pytest.raises(
            AssertionError,
            match=r"still due after 5 runs; the last was Recorded with args .*, kwargs {}: completed",
        ):
            drain(at_most=5)

    def test_draining_as_many_as_allowed_is_no_error(self) -> None:
        for number in range(5):
            Recorded(number).delay()

        assert len(drain(at_most=5)) == 5

    @override_settings(PARTISAN_CONFIG={"mail": {"DEFAULT_POSTPONES_COUNT": 1}})
    def test_one_queue_runs_at_a_time(self) -> None:
        Mailed("x").delay()
        Recorded("y").delay()

        assert [one.processor for one in run_pending("mail")] == ["Mailed"]
        assert [one.processor for one in drain()] == ["Recorded"]

    def test_an_unknown_queue_is_refused(self) -> None:
        with pytest.raises(UnknownQueue):
            run_pending("male")

    def test_a_task_that_meets_its_twin_stays_in_the_table(self) -> None:
        Recorded("enqueue_the_same_and_postpone").delay()

        assert outcomes(run_pending()) == ["postponed"]
        assert Task.objects.waiting().count() == 2

    def test_a_task_that_breaks_the_transaction_fails_alone(self) -> None:
        for number in range(2):
            Recorded("break_the_transaction", number).delay()
        Recorded("write").delay(priority=99)

        ran = run_pending()

        assert outcomes(ran) == ["failed", "failed", "completed"]
        assert ran[0].error is not None
        assert "no_such_column" in ran[0].error.message
        assert list(Group.objects.values_list("name", flat=True)) == ["written"]

    def test_a_task_that_marks_the_transaction_for_rollback_hurts_no_other(self) -> None:
        Recorded("swallow_an_error_inside_atomic").delay()
        Recorded("write").delay()

        assert outcomes(run_pending()) == ["completed", "completed"]
        assert Group.objects.get().name == "written"

    def test_what_a_failing_task_wrote_before_its_error_stays_as_in_a_worker(self) -> None:
        Recorded("write_and_break_down").delay()

        assert outcomes(run_pending()) == ["failed"]
        assert Group.objects.exists()

    def test_what_a_failing_atomic_task_wrote_does_not_stay(self) -> None:
        Whole("write_and_break_down").delay()

        assert outcomes(run_pending()) == ["failed"]
        assert not Group.objects.exists()

    def test_an_atomic_task_is_settled_in_its_own_transaction(self) -> None:
        task = Whole("write").delay()

        assert outcomes(run_pending()) == ["completed"]
        task.refresh_from_db()
        assert task.status == "finished"
        assert Group.objects.exists()

    def test_durable_blocks_work_as_they_do_in_a_test_case(self) -> None:
        Recorded("write_durably").delay()

        assert outcomes(run_pending()) == ["completed"]

    def test_a_task_that_takes_its_own_row_away_is_told_as_claim_lost(self) -> None:
        Recorded("settle_by_itself").delay()
        Whole("settle_by_itself").delay()

        assert outcomes(run_pending()) == ["claim_lost", "claim_lost"]

    def test_an_unregistered_processor_fails_its_task_alone(self) -> None:
        Recorded().delay()
        Task.objects.update(processor_class="Forgotten")

        [ran] = run_pending()

        assert (ran.processor, ran.reason) == ("Forgotten", "unregistered")


class InATransactionTestCase(TransactionTestCase):
    """Every statement is a transaction of its own, as in a worker."""

    def test_tasks_run_as_they_do_in_a_worker(self) -> None:
        Recorded("write").delay()
        Recorded("break_the_transaction").delay()
        Whole("nothing").delay()

        ran = drain()

        assert sorted(outcomes(ran)) == ["completed", "completed", "failed"]
        assert Group.objects.count() == 2
        assert not ManagerLease.objects.exists()

    def test_a_task_that_meets_its_twin_stays_in_the_table(self) -> None:
        Recorded("enqueue_the_same_and_postpone").delay()

        assert outcomes(run_pending()) == ["postponed"]
        assert Task.objects.waiting().count() == 2
