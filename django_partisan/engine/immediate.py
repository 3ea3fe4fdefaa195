"""Immediate mode: run what this thread has enqueued, one after the other, in the order of enqueueing."""

import threading
from collections import deque
from collections.abc import Sequence
from contextvars import Context

from django_partisan.engine.inline import InlineManager, Ran
from django_partisan.models import Task
from django_partisan.outcomes import POSTPONED, RETRIED
from django_partisan.sql.connection import task_database


class _Pending(threading.local):
    """What a thread has yet to run; what a task enqueues joins the end instead of running inside it."""

    def __init__(self) -> None:
        self.task_ids: deque[int] = deque()
        self.is_running = False


_pending = _Pending()


def run_in_place(task_ids: Sequence[int], raise_errors: bool) -> None:
    """Run tasks that wait and are due, and those that they enqueue; all others are left waiting.

    A task that is postponed or retried without a delay runs again. With ``raise_errors``, raise the first
    error that failed a task, when all have run.
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
                # As in a worker, nothing of the caller's context is there: language, span, log context.
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
