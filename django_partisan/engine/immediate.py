"""Immediate mode: run the tasks that this thread enqueues, one after another, in the order of enqueueing."""

import threading
from collections import deque
from collections.abc import Sequence
from contextvars import Context

from django_partisan.engine.inline import InlineManager, Ran
from django_partisan.models import Task
from django_partisan.outcomes import POSTPONED, RETRIED
from django_partisan.sql.connection import task_database


class _Pending(threading.local):
    """The tasks that a thread still has to run. A task enqueued by a running task is appended, not nested."""

    def __init__(self) -> None:
        self.task_ids: deque[int] = deque()
        self.is_running = False


_pending = _Pending()


def run_immediately(task_ids: Sequence[int], raise_errors: bool) -> None:
    """Run waiting tasks that are due, and the tasks that they enqueue; leave all others waiting.

    A task that is postponed or retried without a delay runs again. With ``raise_errors``, raise the first
    error that failed a task, after all tasks have run.
    """
    pending = _pending
    pending.task_ids.extend(task_ids)
    if pending.is_running:
        return
    pending.is_running = True
    errors: list[Exception | SystemExit] = []
    try:
        while pending.task_ids:
            task_id = pending.task_ids.popleft()
            try:
                # As in a worker, a run does not see the caller's context: language, span, log context.
                Context().run(_run, task_id, raise_errors)
            except (Exception, SystemExit) as error:
                errors.append(error)
    finally:
        pending.is_running = False
        pending.task_ids.clear()
    if errors:
        raise errors[0]


def _run(task_id: int, raise_errors: bool) -> None:
    queues = Task.objects.using(task_database()).waiting().filter(pk=task_id).values_list("queue_name")
    for (queue,) in queues:
        with InlineManager(queue) as manager:
            for row in manager.claim_task(task_id):
                if _is_due_again(manager.run(row, raise_errors)):
                    _pending.task_ids.append(task_id)


def _is_due_again(ran: Ran) -> bool:
    return ran.outcome in (POSTPONED, RETRIED) and ran.delay_seconds == 0
