"""Explain in one sentence why a task waits, what it does, or how it ended."""

from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import registry
from django_partisan.config import queues
from django_partisan.definitions import TaskDefinition
from django_partisan.formatting import count, duration_text, moment
from django_partisan.outcomes import (
    POSTPONED,
    REASON_CANCELLED,
    REASON_EXPIRED,
    REASON_UNREGISTERED,
    RETRIED,
)
from django_partisan.sql.manager_state import RUNS_AT_MOST, PublishedManager
from django_partisan.sql.situation import AHEAD_AT_MOST, PauseInForce, Situation, latest_id, situation_of

_ENDED_BY_REQUEST: Final = {
    REASON_CANCELLED: "was cancelled",
    REASON_EXPIRED: "expired before it could start",
}


def explain(connection: BaseDatabaseWrapper, task_id: int) -> str:
    """Return a sentence that says why a task waits, what it does, or how it ended."""
    situation = situation_of(connection, task_id)
    if situation is None:
        return sentence_without_row(task_id, latest_id(connection))
    return sentence(situation, registry.find(situation.task.processor))


def sentence_without_row(task_id: int, latest: int | None) -> str:
    """Return the sentence for a task without a row; ``latest`` is the highest id so far, if known."""
    if latest is not None and task_id > latest:
        return f"Task {task_id} has never existed: the highest id so far is {latest}."
    return (
        f"Task {task_id} has no row: it completed and was deleted, it was pruned, or the transaction that "
        "enqueued it is open or was rolled back."
    )


def sentence(situation: Situation, definition: TaskDefinition | None = None) -> str:
    """Return the sentence for a task; ``definition`` has its limits of retries and postponements."""
    task = situation.task
    says = {"new": _waiting, "in_process": _held_by_manager, "finished": _completed, "error": _failed}
    return f"Task {task.id} ({task.processor}) {says[task.status](situation, definition)}."


def _waiting(situation: Situation, definition: TaskDefinition | None) -> str:
    task = situation.task
    if task.held is not None:
        text = _held(situation)
    elif task.due_in_seconds > 0:
        text = _scheduled(situation, definition)
    else:
        reason = _reason_to_wait(situation) or _position(situation)
        text = f"has been due for {duration_text(-task.due_in_seconds)}{reason}"
    text += _expiry(situation)
    if situation.duplicate is not None:
        text += f"; task {situation.duplicate} waits with the same arguments"
    return text


def _expiry(situation: Situation) -> str:
    """Return when the task expires; empty if it never expires, or may have started."""
    task = situation.task
    if task.expires_at is None or task.expires_in_seconds is None or task.attempts or task.takeovers:
        return ""
    if task.expires_in_seconds > 0:
        return f"; it expires at {moment(task.expires_at)}, in {duration_text(task.expires_in_seconds)}"
    ago = duration_text(-task.expires_in_seconds)
    return f"; it expired {ago} ago, and ends without a run when a manager claims it"


def _held(situation: Situation) -> str:
    task, serving = situation.task, situation.serving
    if task.held != REASON_UNREGISTERED:
        return f"is held ({task.held})"
    since = "" if task.unregistered_seconds is None else f" for {duration_text(task.unregistered_seconds)}"
    if serving.able:
        return (
            f"has been held{since} because no manager knew its processor; a live manager knows it now and "
            "will resume it"
        )
    if not serving.managers:
        return (
            f"has been held{since} because no manager knew its processor, and no live manager serves the "
            f"queue {task.queue!r}"
        )
    return f"is held because no manager of the queue {task.queue!r} has known its processor{since}"


def _scheduled(situation: Situation, definition: TaskDefinition | None) -> str:
    task = situation.task
    due = f"due at {moment(task.due_at)}, in {duration_text(task.due_in_seconds)}"
    if task.last_outcome == RETRIED and task.retries:
        text = f"waits for retry {task.retries}{_of_limit(_retries(situation, definition))}, {due}"
    elif task.last_outcome == POSTPONED and task.postpones:
        reason = f" ({task.last_comment})" if task.last_comment else ""
        limit = _of_limit(_postpones(situation, definition))
        text = f"was postponed, {task.postpones}{limit}, and is {due}{reason}"
    else:
        text = f"is scheduled: {due}"
    return f"{text}{_reason_to_wait(situation)}"


def _of_limit(limit: int | None) -> str:
    return "" if limit is None else f" of {limit}"


def _retries(situation: Situation, definition: TaskDefinition | None) -> int | None:
    if definition is None:
        return None
    retry = definition.retry_in(queues.queue_value(situation.task.queue, "DEFAULT_RETRY"))
    return None if retry is None else retry.retries_count


def _postpones(situation: Situation, definition: TaskDefinition | None) -> int | None:
    if definition is not None and definition.postpone is not None:
        return definition.postpone.max_postpones
    limit: int | None = queues.queue_value(situation.task.queue, "DEFAULT_POSTPONES_COUNT")
    return limit


def _reason_to_wait(situation: Situation) -> str:
    """Return what prevents the task from starting when it is due; empty if nothing does."""
    task, serving = situation.task, situation.serving
    if situation.pause is not None:
        return f", but {_paused(situation.pause, task.queue)}"
    if not serving.managers:
        return f", but no live manager serves the queue {task.queue!r}"
    if serving.draining == serving.managers:  # they list no processors any more
        return f", but every manager of the queue {task.queue!r} is draining"
    if not serving.able and not serving.unpublished and not _is_imported(task.processor):
        return f", but no live manager of the queue {task.queue!r} knows its processor"
    return ""


def _is_imported(processor: str) -> bool:
    """Return whether workers import a processor by its path; managers do not publish such processors."""
    return "." in processor


def _paused(pause: PauseInForce, queue: str) -> str:
    until = "" if pause.until is None else f" until {moment(pause.until)}"
    comment = f" ({pause.comment})" if pause.comment else ""
    return f"the queue {queue!r} is paused{until}{comment}"


def _position(situation: Situation) -> str:
    if not situation.ahead:
        return " and is next in its queue"
    if situation.ahead > AHEAD_AT_MOST:
        return f", and more than {count(AHEAD_AT_MOST, 'task')} in its queue are ahead"
    return (
        f", and {count(situation.ahead, 'task')} in its queue {'is' if situation.ahead == 1 else 'are'} ahead"
    )


def _held_by_manager(situation: Situation, definition: TaskDefinition | None) -> str:
    task, holder = situation.task, situation.holder
    claimed = "" if task.claimed_seconds is None else f" {duration_text(task.claimed_seconds)} ago"
    if holder is None:
        text = f"was claimed{claimed} by a manager that no longer exists{_rescue(situation)}"
    elif not holder.is_alive:
        silent = duration_text(holder.heartbeat_seconds)
        text = f"is held by {_named(holder)}, which has sent no heartbeat for {silent}{_rescue(situation)}"
    else:
        text = _reported(situation, holder, claimed)
    return f"{text}; its cancellation has been requested" if task.is_cancel_requested else text


def _reported(situation: Situation, holder: PublishedManager, claimed: str) -> str:
    """Return what a live holder has published about the task."""
    task = situation.task
    run = next((one for one in holder.runs if one.task == task.id), None)
    if run is not None:
        attempt = task.attempts + 1
        manager = ", whose manager has died" if holder.is_worker else f" of the manager {holder.pid}"
        where = f"{holder.host}, in process {run.pid}{manager}"
        return f"has run for {duration_text(run.seconds)} on {where}: attempt {attempt}"
    if holder.is_worker:
        return f"runs on {holder.host}, in process {holder.pid}, whose manager has died"
    if not holder.publishes_runs:
        return f"was claimed{claimed} by {_named(holder)}, which does not report what it runs"
    if not holder.publishes_all_runs:
        return (
            f"was claimed{claimed} by {_named(holder)}, and is not among the {RUNS_AT_MOST} longest runs, "
            "which are all that it reports"
        )
    return (
        f"was claimed{claimed} by {_named(holder)}, and had not started when the manager last reported, "
        f"{duration_text(holder.heartbeat_seconds)} ago"
    )


def _named(holder: PublishedManager) -> str:
    return f"the manager {holder.pid} on {holder.host}"


def _rescue(situation: Situation) -> str:
    if situation.serving.managers:
        return "; another manager of its queue will rescue it"
    return f"; no live manager serves the queue {situation.task.queue!r} to rescue it"


def _completed(situation: Situation, definition: TaskDefinition | None) -> str:
    task = situation.task
    at = "" if task.finished_at is None else f" at {moment(task.finished_at)}"
    worker = f" on {task.worker}" if task.worker else ""
    return f"completed{at}{worker}: {count(task.attempts, 'run')}"


def _failed(situation: Situation, definition: TaskDefinition | None) -> str:
    task = situation.task
    at = "" if task.finished_at is None else f" at {moment(task.finished_at)}"
    if task.error_reason in _ENDED_BY_REQUEST:
        comment = f" ({task.last_comment})" if task.last_comment else ""
        return f"{_ENDED_BY_REQUEST[task.error_reason]}{at}{comment}"
    reason = f" with the reason {task.error_reason!r}" if task.error_reason else ""
    message = " ".join((task.error_message or "").split())
    error = ": ".join(filter(None, (task.error_type, message))).rstrip(".")
    shown = f": {error}" if error else ""
    return f"failed{at} after {count(task.attempts, 'run')}{reason}{shown}"
