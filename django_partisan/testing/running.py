"""Run tasks in the process and the transaction of a test.

Tasks run as they do in a worker. Callbacks of ``on_commit()`` run only if there is a commit: in Django's
``TestCase``, use ``captureOnCommitCallbacks(execute=True)``.
"""

from datetime import datetime

from django_partisan.engine.inline import InlineManager, Ran
from django_partisan.names import DEFAULT_QUEUE


def run_pending(
    queue_name: str = DEFAULT_QUEUE, *, now: datetime | None = None, raise_errors: bool = True
) -> list[Ran]:
    """Run each task that is due now once, in the order in which a manager would, and return the runs.

    Tasks that they enqueue wait for the next call. ``now`` replaces the current time: tasks that are
    scheduled up to it are due. If a task fails, its error is raised and tasks that have not started still
    wait, unless ``raise_errors`` is ``False``. Raises ``UnknownQueue``, and ``WrongSetting`` for an invalid
    attribute of a processor.
    """
    with InlineManager(queue_name) as manager:
        return [manager.run(row, raise_errors) for row in manager.claim_due(now)]


def drain(
    queue_name: str = DEFAULT_QUEUE,
    *,
    now: datetime | None = None,
    at_most: int = 1000,
    raise_errors: bool = True,
) -> list[Ran]:
    """Run tasks until none is due, including those that tasks enqueue, and return the runs.

    If ``now`` is in the future, tasks that are postponed or retried until then run again. Raises
    ``AssertionError`` if tasks are still due after ``at_most`` runs, and the errors of ``run_pending()``.
    """
    ran: list[Ran] = []
    with InlineManager(queue_name) as manager:
        while rows := manager.claim_due(now, 1):
            ran.append(manager.run(rows[0], raise_errors))
            if len(ran) > at_most:
                last = ran[-1]
                raise AssertionError(
                    f"Tasks of queue {queue_name!r} are still due after {at_most} runs; the last was "
                    f"{last.processor} with args {last.args!r}, kwargs {last.kwargs!r}: {last.outcome}."
                )
    return ran
