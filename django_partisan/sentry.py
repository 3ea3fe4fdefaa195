"""Sentry, if the project has initialized it: a scope for each run, and one event for each failed task.

This module never imports sentry-sdk: it uses it if the project has imported and initialized it before this
process is set up. Then each run has an isolation scope, so that no tag, user or breadcrumb of one task
appears in an event of another. Sentry's own logging integration makes the event of a failure from our log
line; if that integration is disabled, the subscriber sends the exception.
"""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final

from opentelemetry.trace import get_current_span

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.scopes import Running, Scope
from django_partisan.telemetry.events.values import Run
from django_partisan.telemetry.host_traceback import exc_info_of, is_ours

PACKAGE: Final = "sentry_sdk"
TAGS: Final[Mapping[str, str]] = {
    "partisan.task.id": "partisan.task_id",
    "partisan.processor": "partisan.processor",
    "partisan.queue.name": "partisan.queue",
    "partisan.task.attempt": "partisan.attempt",
}
"""The name of each tag, by the field of log lines that has its value."""

_RECORD_FIELDS: Final = "partisan_fields"
_OF_LINES: Final = ("partisan.", "event.", "error.", "span.", "trace.", "transaction.")
"""Prefixes of our field names, in log lines that the project's handlers write."""
_SENT: Final = "_partisan_sent_by"
"""The attribute of an exception that holds the run that has sent it to Sentry."""
_ENQUEUE_FAILED: Final = "task.enqueue_failed"
_NOTHING: Final = nullcontext()


def install(role: str) -> None:
    """Report the runs of a worker, or the failures in a manager, if the project has initialized Sentry."""
    sdk = sys.modules.get(PACKAGE)
    if sdk is None or not hasattr(sdk, "get_global_scope") or not sdk.is_initialized():
        return
    if role == "manager":
        sdk.get_global_scope().add_event_processor(_of_managers_line)
    bus.subscribe(SentrySubscriber(sdk))


class SentrySubscriber(bus.Subscriber):
    """A subscriber that gives each run its own scope, and sends a failure's exception if nothing else has."""

    name = "sentry"

    def __init__(self, sdk: Any) -> None:
        """Use ``sdk``, which is the module ``sentry_sdk``."""
        self._sdk = sdk

    def wants(self, kind: type[Event]) -> bool:
        return kind is TaskFailed

    def handle(self, event: Any) -> None:
        run, exception = event.run, event.error.exception
        # In a manager, another thread logs the line, so it is not known here what Sentry will be sent.
        if isinstance(run, Run) and exception is not None and not _is_sent(exception, run):
            self._sdk.capture_exception(exc_info_of(exception))

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        return _run_scope(self._sdk, scope.run) if isinstance(scope, Running) else _NOTHING

    def close(self, timeout: float) -> None:
        """Send the remaining events within half of ``timeout``; the other half is for spans.

        A thread does it, because Sentry's exit handler may hold a lock of the client while it closes it.
        """
        flush = threading.Thread(
            target=self._sdk.flush, args=(timeout / 2,), name="partisan-sentry-flush", daemon=True
        )
        flush.start()
        flush.join(timeout / 2)


@contextmanager
def _run_scope(sdk: Any, run: Run) -> Iterator[None]:
    """Enter an isolation scope with the tags, the name and the trace of a run."""
    with sdk.isolation_scope() as scope:
        scope.clear_breadcrumbs()  # earlier ones belong to no task
        scope.set_tags(
            {
                "partisan.task_id": str(run.id),
                "partisan.processor": run.processor,
                "partisan.queue": run.queue,
                "partisan.attempt": str(run.attempt),
            }
        )
        scope.set_transaction_name(run.processor, source="task")
        scope.generate_propagation_context(_trace_headers())
        scope.add_event_processor(partial(_once, run))
        yield


def _once(run: Run, event: Any, hint: Mapping[str, Any]) -> Any:
    """Drop the event if this run has already sent the exception, through any logger or call.

    Drop the event of a failed enqueueing, too: its exception belongs to the run, which may be retried.
    """
    if _fields(hint).get("event.action") == _ENQUEUE_FAILED:
        return None
    exception = (hint.get("exc_info") or (None, None))[1]
    if exception is not None:
        if _is_sent(exception, run):
            return None
        vars(exception)[_SENT] = run
    for frame in _frames(event):
        if is_ours(frame.get("module")):  # such as those of a cause, which a log line includes in full
            frame.pop("vars", None)
    return _without_fields_of_line(event)


def _is_sent(exception: BaseException, run: Run) -> bool:
    # Another run may raise the same exception object, for example one that a module keeps.
    return vars(exception).get(_SENT) is run


def _fields(hint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of the log line from which the event was made."""
    attributes = vars(hint["log_record"]) if "log_record" in hint else {}
    fields: Mapping[str, Any] = attributes.get(_RECORD_FIELDS, attributes)
    return fields


def _frames(event: Any) -> Iterator[dict[str, Any]]:
    for traces in (event.get("exception"), event.get("threads")):
        for trace in (traces or {}).get("values") or ():
            yield from (trace.get("stacktrace") or {}).get("frames") or ()


def _without_fields_of_line(event: Any) -> Any:
    """Remove the fields of our line: Sentry keeps only ten values of ``extra``, for the project's own."""
    extra = event.get("extra", {})
    for name in [name for name in extra if name == _RECORD_FIELDS or name.startswith(_OF_LINES)]:
        del extra[name]
    return event


def _trace_headers() -> dict[str, str]:
    """Return Sentry's headers for the run's span; none without a span, so that the run starts a trace."""
    span = get_current_span().get_span_context()
    return {"sentry-trace": f"{span.trace_id:032x}-{span.span_id:016x}"} if span.is_valid else {}


def _of_managers_line(event: Any, hint: Mapping[str, Any]) -> Any:
    """Add the tags of the task in a manager's log line, and remove data that must not be sent to Sentry.

    The locals of Django's frames contain the database password; breadcrumbs are lines about other tasks.
    """
    if "log_record" in hint and is_ours(hint["log_record"].name):
        event.pop("breadcrumbs", None)
        for frame in _frames(event):
            frame.pop("vars", None)
    fields = _fields(hint)
    found = {tag: str(fields[field]) for field, tag in TAGS.items() if field in fields}
    if found:
        event["tags"] = {**(event.get("tags") or {}), **found}
    return _without_fields_of_line(event)
