"""Each sentence about a task describes its situation, and nothing else."""

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import pytest
from django.utils.timezone import override

from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.manager_state import PublishedManager, Run
from django_partisan.sql.situation import ManagerCounts, PauseInForce, Situation, TaskRecord
from django_partisan.why import sentence, sentence_without_row

NOON = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)
MANAGER = UUID(int=1)
ONE = ManagerCounts(managers=1, able=1)


class Letter(BaseTaskProcessor):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=5, retry_pause=1)
    POSTPONE_CONFIG = PostponeConfig(10)

    def run(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with override("UTC"):
        yield


DEFINITION = TaskDefinition.of_processor(Letter)


def record(**values: Any) -> TaskRecord:
    defaults: dict[str, Any] = dict.fromkeys(TaskRecord._fields)
    defaults |= {"id": 7, "status": "new", "queue": "mail", "processor": "Letter", "priority": 10}
    defaults |= {"attempts": 0, "retries": 0, "postpones": 0, "due_at": NOON, "due_in_seconds": -3.0}
    return TaskRecord(**defaults | values)


def holder(**values: Any) -> PublishedManager:
    defaults: dict[str, Any] = {
        "id": MANAGER, "queue": "mail", "host": "web1", "pid": 17, "version": "2.0.0", "is_sleeping": False,
        "started_seconds": 100.0, "heartbeat_seconds": 4.0, "is_alive": True, "is_worker": False,
        "is_draining": False, "publishes_runs": True, "runs": (), "totals": {},
    }  # fmt: skip
    return PublishedManager(**defaults | values)


def said(
    task: TaskRecord, serving: ManagerCounts = ONE, definition: TaskDefinition | None = None, **more: Any
) -> str:
    return sentence(Situation(task, serving, **more), definition)


def test_a_due_task_says_what_is_ahead_of_it():
    assert said(record()) == "Task 7 (Letter) has been due for 3.0 s and is next in its queue."
    assert said(record(), ahead=1).endswith("due for 3.0 s, and 1 task in its queue is ahead.")
    assert said(record(), ahead=2345).endswith(", and 2,345 tasks in its queue are ahead.")
    assert said(record(), ahead=10_001).endswith(", and more than 10,000 tasks in its queue are ahead.")


def test_a_task_that_has_not_started_says_when_it_expires():
    later = record(expires_at=NOON, expires_in_seconds=60.0)
    past = record(expires_at=NOON, expires_in_seconds=-5.0)

    assert said(later).endswith("next in its queue; it expires at 2026-11-29 12:00:00 UTC, in 1 min.")
    assert said(past).endswith("; it expired 5.0 s ago, and ends without a run when a manager claims it.")
    assert "expire" not in said(later._replace(attempts=1)) + said(past._replace(takeovers=1))


@pytest.mark.parametrize(
    ("serving", "pause", "obstacle"),
    [
        (ManagerCounts(), None, "no live manager serves the queue 'mail'"),
        (ManagerCounts(2), None, "no live manager of the queue 'mail' knows its processor"),
        (ManagerCounts(2, draining=2), None, "every manager of the queue 'mail' is draining"),
        (ManagerCounts(2, draining=2, able=1), None, "every manager of the queue 'mail' is draining"),
        (ManagerCounts(), PauseInForce(None, ""), "the queue 'mail' is paused"),
        (
            ONE,
            PauseInForce(NOON, "no ink"),
            "the queue 'mail' is paused until 2026-11-29 12:00:00 UTC (no ink)",
        ),
    ],
)
def test_an_obstacle_is_named_instead_of_what_is_ahead(serving, pause, obstacle):
    due = said(record(), serving, pause=pause, ahead=5)
    later = said(record(due_in_seconds=60.0), serving, pause=pause)

    assert due == f"Task 7 (Letter) has been due for 3.0 s, but {obstacle}."
    assert later.endswith(f"due at 2026-11-29 12:00:00 UTC, in 1 min, but {obstacle}.")


def test_a_manager_that_does_not_say_what_it_knows_may_know_the_processor():
    assert said(record(), ManagerCounts(2, unpublished=1)).endswith("is next in its queue.")
    assert said(record(), ManagerCounts(2, draining=1, able=1)).endswith("is next in its queue.")


def test_nobody_publishes_that_it_can_import_a_function():
    assert said(record(processor="shop.tasks.send"), ManagerCounts(2)).endswith("is next in its queue.")


def test_a_scheduled_task_says_when_it_is_due():
    assert said(record(due_in_seconds=7200.0)) == (
        "Task 7 (Letter) is scheduled: due at 2026-11-29 12:00:00 UTC, in 2 h."
    )


def test_a_task_that_is_to_be_retried_says_which_retry_it_waits_for():
    task = record(due_in_seconds=60.0, retries=2, last_outcome="retried")

    assert said(task, definition=DEFINITION) == (
        "Task 7 (Letter) waits for retry 2 of 5, due at 2026-11-29 12:00:00 UTC, in 1 min."
    )
    assert "waits for retry 2, due" in said(task)
    assert "is scheduled" in said(task._replace(retries=0))


def test_without_a_rule_of_its_own_it_has_the_retries_of_its_queue(settings):
    settings.PARTISAN_CONFIG = {"mail": {"DEFAULT_RETRY": ErrorsHandleConfig("*", 4, 1)}}
    task = record(due_in_seconds=60.0, retries=2, last_outcome="retried")
    plain = TaskDefinition.of_processor(type("Plain", (BaseTaskProcessor,), {}))

    assert "waits for retry 2 of 4, due" in said(task, definition=plain)
    assert "waits for retry 2, due" in said(task._replace(queue="default"), definition=plain)


def test_a_postponed_task_says_how_often_and_why():
    task = record(due_in_seconds=60.0, postpones=3, last_outcome="postponed", last_comment="printer is busy")

    assert said(task, definition=DEFINITION) == (
        "Task 7 (Letter) was postponed, 3 of 10, and is due at 2026-11-29 12:00:00 UTC, in 1 min"
        " (printer is busy)."
    )
    assert "was postponed, 3 of " in said(task._replace(last_comment=None, queue="default"))
    unlimited = TaskDefinition.of_processor(
        type("Letter", (Letter,), {"POSTPONE_CONFIG": PostponeConfig(None)})
    )
    assert "was postponed, 3, and" in said(task, definition=unlimited)
    assert "is scheduled" in said(task._replace(postpones=0))


def test_a_duplicate_that_waits_is_named():
    assert said(record(), duplicate=5).endswith("in its queue; task 5 waits with the same arguments.")


@pytest.mark.parametrize(
    ("serving", "why"),
    [
        (
            ManagerCounts(1),
            "is held because no manager of the queue 'mail' has known its processor for 1 min.",
        ),
        (
            ManagerCounts(),
            (
                "has been held for 1 min because no manager knew its processor, and no live manager serves"
                " the queue 'mail'."
            ),
        ),
        (
            ManagerCounts(2, able=1),
            (
                "has been held for 1 min because no manager knew its processor; a live manager knows it now"
                " and will resume it."
            ),
        ),
    ],
)
def test_a_held_task_says_who_would_resume_it(serving, why):
    task = record(held="unregistered", unregistered_seconds=60.0)

    assert said(task, serving) == f"Task 7 (Letter) {why}"
    assert " for 1 min" not in said(task._replace(unregistered_seconds=None), serving)


def test_a_task_that_is_held_for_another_reason_says_it():
    assert said(record(held="limit")) == "Task 7 (Letter) is held (limit)."


def test_a_run_that_a_manager_has_published_says_for_how_long_and_where():
    task = record(status="in_process", attempts=2, claimed_seconds=60.0)
    run = Run(7, "Letter", 4250, 0, 12.3)

    assert said(task, holder=holder(runs=(run._replace(task=6), run))) == (
        "Task 7 (Letter) has run for 12 s on web1, in process 4250 of the manager 17: attempt 3."
    )
    assert said(task, holder=holder(runs=(run,), is_worker=True)) == (
        "Task 7 (Letter) has run for 12 s on web1, in process 4250, whose manager has died: attempt 3."
    )
    assert said(task._replace(is_cancel_requested=True), holder=holder(runs=(run,))).endswith(
        "attempt 3; its cancellation has been requested."
    )


@pytest.mark.parametrize(
    ("serving", "values", "why"),
    [
        (
            ONE,
            None,
            (
                "was claimed 1 min ago by a manager that no longer exists; another manager of its queue will"
                " rescue it."
            ),
        ),
        (
            ManagerCounts(),
            None,
            (
                "was claimed 1 min ago by a manager that no longer exists; no live manager serves the queue"
                " 'mail' to rescue it."
            ),
        ),
        (
            ONE,
            {"is_alive": False, "heartbeat_seconds": 40.0},
            "is held by the manager 17 on web1, which has sent no heartbeat for 40 s; another manager",
        ),
        (
            ONE,
            {},
            (
                "was claimed 1 min ago by the manager 17 on web1, and had not started when the manager last"
                " reported, 4.0 s ago."
            ),
        ),
        (
            ONE,
            {"publishes_runs": False},
            "was claimed 1 min ago by the manager 17 on web1, which does not report what it runs.",
        ),
        (
            ONE,
            {"publishes_all_runs": False},
            (
                "was claimed 1 min ago by the manager 17 on web1, and is not among the 100 longest runs,"
                " which are all that it reports."
            ),
        ),
        (ONE, {"is_worker": True}, "runs on web1, in process 17, whose manager has died."),
    ],
)
def test_a_task_that_is_held_by_a_manager_says_by_whom(serving, values, why):
    held_by = None if values is None else holder(**values)

    assert f"Task 7 (Letter) {why}" in said(
        record(status="in_process", claimed_seconds=60.0), serving, holder=held_by
    )


def test_a_claim_whose_time_is_unknown_is_a_claim_all_the_same():
    assert "was claimed by a manager" in said(record(status="in_process"))


def test_a_completed_task_says_when_and_where():
    task = record(status="finished", finished_at=NOON, worker="web1:17", attempts=1)

    assert said(task) == "Task 7 (Letter) completed at 2026-11-29 12:00:00 UTC on web1:17: 1 run."
    assert said(record(status="finished")) == "Task 7 (Letter) completed: 0 runs."


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (
            {"error_reason": "error", "error_type": "app.Lost", "error_message": "no\n ink."},
            "failed at 2026-11-29 12:00:00 UTC after 3 runs with the reason 'error': app.Lost: no ink.",
        ),
        (
            {"error_reason": "worker_lost"},
            "failed at 2026-11-29 12:00:00 UTC after 3 runs with the reason 'worker_lost'.",
        ),
        ({"finished_at": None}, "failed after 3 runs."),
        (
            {"error_reason": "cancelled", "last_comment": "wrong order"},
            "was cancelled at 2026-11-29 12:00:00 UTC (wrong order).",
        ),
        ({"error_reason": "expired"}, "expired before it could start at 2026-11-29 12:00:00 UTC."),
    ],
)
def test_a_failed_task_says_when_and_why(values, why):
    task = record(**{"status": "error", "attempts": 3, "finished_at": NOON, **values})

    assert said(task) == f"Task 7 (Letter) {why}"


def test_a_task_without_a_row_has_never_existed_or_was_deleted():
    assert sentence_without_row(7, 3) == "Task 7 has never existed: the highest id so far is 3."
    assert sentence_without_row(7, 8).startswith("Task 7 has no row: it completed and was deleted")
    assert sentence_without_row(7, None) == sentence_without_row(7, 8)
