"""Runs that exceed their time limit are interrupted, whatever they do."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor
from tests.app import interrupted_tasks as processors
from tests.app.models import Note
from tests.support.waiting import wait_until

from .managing import Bench


@pytest.fixture(scope="module")
def shared_bench(module_bench: Bench) -> Bench:
    module_bench.ready(SLEEP_DELAY_SECONDS=30, INTERRUPT_GRACE_SECONDS=1.5)
    return module_bench


def done(bench: Bench, task: Task) -> Task:
    manager = bench.managers[0]
    wait_until(
        lambda: Task.objects.filter(pk=task.pk, status__in=["finished", "error"]),
        what=lambda: f"{task}\n{manager}",
    )
    task.refresh_from_db()
    return task


def outcome_of(bench: Bench, processor: BaseTaskProcessor) -> Task:
    """Enqueue a task, and return its row after its last run."""
    return done(bench, processor.delay())


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock that runs wait for."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (processors.LOCK,))
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (processors.LOCK,))


@contextmanager
def slow_commits(seconds: float) -> Iterator[None]:
    """Make each commit of a note take ``seconds``."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS "
            f"'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END'"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON app_note DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION slow_commit()"
        )
        try:
            yield
        finally:
            cursor.execute("DROP FUNCTION slow_commit CASCADE")


@pytest.mark.parametrize("way", ["sleep", "loop", "wait for a program", "wait for a lock", "log"])
def test_run_that_can_be_interrupted_fails_in_its_own_worker(serving: Bench, way: str):
    exits = len(serving.managers[0].logged("worker.exited"))

    with locked():
        task = outcome_of(serving, processors.Limited(way))

    assert (task.status, task.error_reason, task.attempts, task.crashes) == ("error", "timeout", 1, 0)
    assert task.error_type == "django_partisan.exceptions.TaskTimeout"
    assert len(serving.managers[0].logged("worker.exited")) == exits


@pytest.mark.parametrize("way", ["hold the interpreter", "swallow"])
def test_run_that_does_not_end_costs_its_worker_and_fails(serving: Bench, way: str):
    manager = serving.managers[0]
    killed, exits = len(manager.logged("worker.killed")), len(manager.logged("worker.exited"))

    task = outcome_of(serving, processors.Limited(way))

    assert (task.status, task.error_reason, task.attempts, task.crashes) == ("error", "timeout", 1, 0)
    assert [entry["outcome"] for entry in task.history or []] == ["failed"]
    line = manager.wait_for("worker.killed", killed + 1)[-1]
    assert (line["partisan.task.id"], line["event.reason"]) == (str(task.pk), "timeout")
    exited = manager.wait_for("worker.exited", exits + 1)[-1]
    assert (exited["event.reason"], exited["log.level"]) == ("timeout", "info")
    failed = manager.wait_for("task.failed")[-1]
    assert (failed["partisan.task.id"], failed["event.reason"]) == (str(task.pk), "timeout")


def test_stacks_of_a_worker_are_logged_before_it_is_killed(serving: Bench):
    manager = serving.managers[0]
    before = len(manager.logged("thread.stack"))

    task = outcome_of(serving, processors.Limited("swallow"))

    stack = "_swallow app/interrupted_tasks.py"
    wait_until(lambda: any(stack in line["message"] for line in manager.logged("thread.stack")[before:]))
    assert task.error_reason == "timeout"


def test_exception_that_a_run_lets_through_may_lead_to_a_retry(serving: Bench):
    task = outcome_of(serving, processors.LimitedAndRetried("sleep"))

    assert (task.status, task.attempts, task.retries) == ("finished", 2, 1)
    assert [entry["outcome"] for entry in task.history or []] == ["retried", "completed"]


def test_killed_run_may_be_retried_too(serving: Bench):
    task = outcome_of(serving, processors.LimitedAndRetried("swallow"))

    assert (task.status, task.attempts, task.retries, task.crashes) == ("finished", 2, 1, 0)
    line = serving.managers[0].wait_for("task.retried")[-1]
    assert line["partisan.task.id"] == str(task.pk)


def test_run_that_catches_the_exception_and_returns_has_completed(serving: Bench):
    task = outcome_of(serving, processors.Limited("swallow everything"))

    assert (task.status, task.error_reason) == ("finished", None)
    assert serving.wait_for("swallowed")[0]["error"] == "TaskTimeout"


def test_run_can_use_its_connection_after_its_query_was_cancelled(serving: Bench):
    with locked():
        task = outcome_of(serving, processors.Limited("clean up"))

    assert (task.error_reason, Note.objects.get().text) == ("timeout", "cleaned up")


@pytest.mark.parametrize(
    ("way", "expected"), [("return", ("finished", None)), ("raise", ("error", "timeout"))]
)
def test_coroutine_is_cancelled_and_may_clean_up(serving: Bench, way: str, expected: tuple[str, str | None]):
    task = outcome_of(serving, processors.LimitedAsynchronously(way))

    serving.wait_for("cancelled")
    assert (task.status, task.error_reason) == (
        ("finished", None) if way == "return" else ("error", "timeout")
    )
    assert Note.objects.get().text == "cleaned up"


def test_atomic_run_is_rolled_back(serving: Bench):
    task = outcome_of(serving, processors.LimitedAndAtomic("sleep"))

    assert (task.status, task.error_reason) == ("error", "timeout")
    assert not Note.objects.exists()


def test_commit_of_an_atomic_run_is_not_interrupted_and_what_it_commits_stays(serving: Bench):
    manager = serving.managers[0]
    with slow_commits(1.0):
        task = outcome_of(serving, processors.LimitedAndAtomic("commit slowly"))

    assert (task.status, task.error_reason, Note.objects.get().text) == ("finished", None, "commit slowly")
    assert str(task.pk) in [line["partisan.task.id"] for line in manager.logged("task.interrupted")]


def test_worker_that_hangs_in_a_commit_is_killed_and_what_it_commits_stays(serving: Bench):
    manager = serving.managers[0]
    killed = len(manager.logged("worker.killed"))
    with slow_commits(5.0):
        task = processors.LimitedAndAtomic("commit slowly").delay()
        [line] = manager.wait_for("worker.killed", killed + 1)[killed:]
        assert line["partisan.task.id"] == str(task.pk)
        done(serving, task)

    assert (task.status, task.error_reason, Note.objects.get().text) == ("finished", None, "commit slowly")
    lost = manager.wait_for("task.claim_lost")
    assert str(task.pk) in [line["partisan.task.id"] for line in lost]
    failed = [line["partisan.task.id"] for line in manager.logged("task.failed")]
    assert str(task.pk) not in failed
