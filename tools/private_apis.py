"""The list of all private and undocumented APIs of libraries that the package uses.

The package uses them only where no public API serves as well. Each row names the reason and the versions in
which the API was checked. A test checks them in the installed versions, and that no others are used.

``python -m tools.private_apis`` checks the installed versions without the other requirements of the tests.
"""

import atexit
import inspect
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

PYTHON: Final = "Python"


class PrivateApi(NamedTuple):
    """A private API, the file that uses it, the reason, and a check that the API has not changed."""

    library: str
    name: str
    used_in: str
    """A file of the package. Its text contains the last part of the name."""
    why: str
    seen_in: str
    is_as_seen: Callable[[], Any]

    def problem(self) -> str | None:
        """Return a message that names the API if it is missing or has changed, else ``None``."""
        try:
            found = bool(self.is_as_seen())
        except (AttributeError, ImportError, KeyError, TypeError):
            found = False
        if found:
            return None
        installed = sys.version.split()[0] if self.library == PYTHON else version(self.library)
        return (
            f"{self.library} {installed} lacks {self.name} or has changed it (checked in {self.seen_in}). "
            f"django_partisan/{self.used_in} uses it: {self.why}"
        )


def _scans_from_a_place() -> bool:
    return bool(json.JSONDecoder().scan_once('[{"a": 1}]', 1) == ({"a": 1}, 9))  # type: ignore[attr-defined]


def _django_connection() -> Any:
    """Return a database wrapper whose connection is not open."""
    from django.db.backends.postgresql.base import DatabaseWrapper

    return DatabaseWrapper({"OPTIONS": {}, "TIME_ZONE": None, "NAME": "x"}, "default")


def _positional(call: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(call).parameters)


def _closes_itself() -> bool:
    return not _positional(_django_connection()._close)


def _framework() -> Any:
    """Return Django's task framework or its backport, ``None`` if neither is installed."""
    name = next((one for one in ("django.tasks", "django_tasks") if find_spec(one)), None)
    return import_module(f"{name}.base") if name else None


def _results_hold_what_was_returned() -> bool:
    base = _framework()
    return base is None or {"_return_value", "status", "errors"} <= set(base.TASK_REFRESH_ATTRS)


def _signals_know_asynchronous_receivers() -> bool:
    from django.dispatch import Signal

    def receive(**values: Any) -> None: ...
    async def receive_later(**values: Any) -> None: ...

    signal = Signal()
    signal.connect(receive)
    signal.connect(receive_later)
    return [entry[-1] for entry in signal.receivers] == [False, True]


def _signals_name_their_receivers() -> bool:
    framework = _framework()
    if framework is None:
        return True
    signals = import_module(framework.__name__.replace(".base", ".signals"))
    named = [entry[0][0] for one in (signals.task_started, signals.task_finished) for entry in one.receivers]
    logs = [id(signals.log_task_started), id(signals.log_task_finished)]
    return set(logs) <= set(named) and signals.logger.name in ("django.tasks", "django_tasks")


def _json_is_normalized() -> bool:
    base = _framework()
    return base is None or base.normalize_json({"a": (1, b"b")}) == {"a": [1, "b"]}


def _commit_hooks_are_a_list_per_savepoint() -> bool:
    connection = _django_connection()
    return (connection.run_on_commit, connection.savepoint_ids) == ([], [])


def _transaction_state_is_reset() -> bool:
    connection = _django_connection()
    return connection.in_atomic_block is False and connection.closed_in_transaction is False


def _checks_health_once_if_asked() -> bool:
    found = vars(_django_connection())
    return (found["health_check_enabled"], found["health_check_done"]) == (False, False)


def _pools_are_kept_in_the_class() -> bool:
    import django
    from django.db.backends.postgresql.base import DatabaseWrapper

    return django.VERSION < (5, 1) or isinstance(vars(DatabaseWrapper)["_connection_pools"], dict)


def _makes_connections() -> bool:
    from django.db import connections

    return _positional(connections.create_connection) == ["alias"]


def _says_which_psycopg() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return isinstance(is_psycopg3, bool)


def _task_loggers_call_one_method() -> bool:
    import structlog

    found = _positional(structlog.stdlib.BoundLogger._proxy_to_logger)
    return found == ["self", "method_name", "event", "event_args", "event_kw"]


def _suppression_keys_are_those_of_the_api() -> bool:
    from opentelemetry import context

    return all(
        isinstance(getattr(context, f"_SUPPRESS_{name}_KEY"), str)
        for name in ("INSTRUMENTATION", "HTTP_INSTRUMENTATION")
    )


def _has_its_parts() -> bool:
    from opentelemetry.propagators.composite import CompositePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parts: Any = [TraceContextTextMapPropagator()]
    return bool(CompositePropagator(parts)._propagators == parts)


def _provider_of_lines_can_be_asked_for() -> bool:
    from opentelemetry import _logs
    from opentelemetry.sdk._logs import LoggerProvider

    return hasattr(_logs, "get_logger_provider") and hasattr(LoggerProvider, "force_flush")


def _spans_wait_in_a_deque() -> bool:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    processor: Any = BatchSpanProcessor(InMemorySpanExporter(), max_queue_size=7, max_export_batch_size=7)
    processor.shutdown()
    within = getattr(processor, "_batch_processor", processor)
    waiting = getattr(within, "_queue", getattr(within, "queue", None))
    return waiting is not None and waiting.maxlen == 7


def _readable_span_is_its_fields() -> bool:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Status, StatusCode

    class Changed(ReadableSpan):
        """A subclass that changes its fields, as the SDK's own ``Span`` does."""

    span: Any = Changed("before")
    names = ("_name", "_status", "_end_time", "_attributes", "_events", "_links")
    values = ("after", Status(StatusCode.OK), 12, {"key": 1}, ("event",), ("link",))
    are_known = set(names) <= set(vars(span))
    vars(span).update(zip(names, values, strict=True))
    found = (span.name, span.status, span.end_time, dict(span.attributes), span.events, span.links)
    return are_known and found == values


def _exporter_takes_a_session() -> bool:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return "session" in _positional(OTLPSpanExporter.__init__)


def _lists_the_options_of_the_interpreter() -> bool:
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return all(isinstance(option, str) for option in options)


def _names_its_pipes() -> bool:
    from multiprocessing.popen_fork import Popen

    return {"parent_r", "child_w", "child_r", "parent_w"} <= set(Popen._launch.__code__.co_varnames)  # type: ignore[attr-defined]


def _runs_exit_handlers() -> bool:
    return callable(atexit._run_exitfuncs)


def _finalizers_are_registered() -> bool:
    registry: Any = weakref.finalize._registry  # type: ignore[attr-defined]
    finalizer = weakref.finalize(_finalizers_are_registered, print)
    is_registered = finalizer in registry and finalizer.atexit
    finalizer.detach()
    return is_registered


def _shows_the_frames_of_threads() -> bool:
    return threading.get_ident() in sys._current_frames()


_OTEL: Final = "opentelemetry-sdk"
_OTLP: Final = "opentelemetry-exporter-otlp-proto-http"

PRIVATE_APIS: Final = (
    PrivateApi(
        PYTHON, "json.JSONDecoder.scan_once", "arguments.py",
        "raw_decode() adds 0.1 microseconds to every run, about 2% of the worker's overhead.",
        "3.10 to 3.13", _scans_from_a_place,
    ),
    PrivateApi(
        "Django", "TaskResult._return_value", "functions/stored_result.py",
        "A result has no argument for the return value of its function.",
        "6.0.10, 6.1.3, django-tasks 0.12.0", _results_hold_what_was_returned,
    ),
    PrivateApi(
        "Django", "TASK_REFRESH_ATTRS", "functions/stored_result.py",
        "refresh() copies these attributes, and would leave out the number of attempts.",
        "6.0.10, 6.1.3, django-tasks 0.12.0", _results_hold_what_was_returned,
    ),
    PrivateApi(
        "Django", "Signal.receivers", "functions/run_signals.py",
        "Results are read from the database only if an asynchronous receiver gets them.",
        "5.2.19, 6.0.10, 6.1.3", _signals_know_asynchronous_receivers,
    ),
    PrivateApi(
        "Django", "log_task_started", "functions/run_signals.py",
        "Signals are slow, and are not sent if the only receiver is Django's own and its logger is off.",
        "6.0.10, 6.1.3, django-tasks 0.12.0", _signals_name_their_receivers,
    ),
    PrivateApi(
        "Django", "log_task_finished", "functions/run_signals.py",
        "See log_task_started.",
        "6.0.10, 6.1.3, django-tasks 0.12.0", _signals_name_their_receivers,
    ),
    PrivateApi(
        "Django", "normalize_json", "functions/framework.py",
        "Arguments must be converted as in other backends.",
        "6.0.10, 6.1.3, django-tasks 0.12.0", _json_is_normalized,
    ),
    PrivateApi(
        "Django", "BaseDatabaseWrapper._close", "engine/worker/connection_state.py",
        "close() raises an error inside an atomic block, and a task may end there.",
        "5.2, 5.2.19", _closes_itself,
    ),
    PrivateApi(
        "Django", "BaseDatabaseWrapper.closed_in_transaction", "engine/worker/connection_state.py",
        "The state of the block must be reset if a connection was closed inside an atomic block.",
        "5.2, 5.2.19", _transaction_state_is_reset,
    ),
    PrivateApi(
        "Django", "BaseDatabaseWrapper.health_check_enabled", "engine/worker/thread_connections.py",
        "Only its own thread can reconnect a connection; with this flag, Django checks it and does so.",
        "5.2, 5.2.19", _checks_health_once_if_asked,
    ),
    PrivateApi(
        "Django", "BaseDatabaseWrapper.run_on_commit", "enqueueing.py",
        "To send one NOTIFY per transaction, the package must know if a savepoint discarded the hook.",
        "5.2, 5.2.19", _commit_hooks_are_a_list_per_savepoint,
    ),
    PrivateApi(
        "Django", "BaseDatabaseWrapper.savepoint_ids", "enqueueing.py",
        "See run_on_commit: the savepoints that a hook belongs to.",
        "5.2, 5.2.19", _commit_hooks_are_a_list_per_savepoint,
    ),
    PrivateApi(
        "Django", "DatabaseWrapper._connection_pools", "engine/worker/children.py",
        "A forked child must not share a pool's sockets; close_pool() would close the worker's sessions.",
        "5.2, 5.2.19", _pools_are_kept_in_the_class,
    ),
    PrivateApi(
        "Django", "ConnectionHandler.create_connection", "sql/connection.py",
        "The manager's connections belong to no thread and no pool; connections[alias] is per thread.",
        "5.2, 5.2.19", _makes_connections,
    ),
    PrivateApi(
        "Django", "django.db.backends.postgresql.psycopg_any.is_psycopg3", "doctor/database.py",
        "Django has no public API that returns the driver in use.",
        "5.2, 5.2.19", _says_which_psycopg,
    ),
    PrivateApi(
        "Django", "django.db.backends.postgresql.psycopg_any.is_psycopg3", "sql/connection.py",
        "Django has no public API that returns the driver in use.",
        "5.2, 5.2.19", _says_which_psycopg,
    ),
    PrivateApi(
        "structlog", "stdlib.BoundLogger._proxy_to_logger", "logs/subscriber.py",
        "All log methods of a task call it; it is documented for subclasses.",
        "24.4.0, 26.1.0", _task_loggers_call_one_method,
    ),
    PrivateApi(
        _OTEL, "opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY", "tracing/context.py",
        "The public API is in opentelemetry-instrumentation, which is installed only with instrumentations.",
        "1.30.0, 1.45.2", _suppression_keys_are_those_of_the_api,
    ),
    PrivateApi(
        _OTEL, "opentelemetry.context._SUPPRESS_HTTP_INSTRUMENTATION_KEY", "tracing/context.py",
        "See _SUPPRESS_INSTRUMENTATION_KEY.",
        "1.30.0, 1.45.2", _suppression_keys_are_those_of_the_api,
    ),
    PrivateApi(
        _OTEL, "CompositePropagator._propagators", "tracing/traceparents.py",
        "No public API shows if the default propagators are in use; otherwise each run must call them.",
        "1.45.2", _has_its_parts,
    ),
    PrivateApi(
        _OTEL, "opentelemetry._logs.get_logger_provider", "telemetry/logger_provider.py",
        "Lines that an agent exports are flushed at exit; OpenTelemetry has no public API for lines.",
        "1.45.2", _provider_of_lines_can_be_asked_for,
    ),
    PrivateApi(
        _OTEL, "BatchSpanProcessor._batch_processor._queue", "tracing/provider.py",
        "The SDK does not count the spans that its full queue drops if its own metrics are off.",
        "1.30.0 (as BatchSpanProcessor.queue), 1.45.2", _spans_wait_in_a_deque,
    ),
    PrivateApi(
        _OTEL, "ReadableSpan._end_time", "tracing/plain_spans.py",
        "A span that can be read like the SDK's, and is not one, sets the fields that are read.",
        "1.30.0, 1.45.2", _readable_span_is_its_fields,
    ),
    PrivateApi(
        _OTLP, "OTLPSpanExporter(session)", "tracing/otlp_http.py",
        "The exporter has no public API to send encoded bytes.",
        "1.30.0, 1.45.2", _exporter_takes_a_session,
    ),
    PrivateApi(
        PYTHON, "subprocess._args_from_interpreter_flags", "engine/forkserver/worker_source.py",
        "Workers run with the interpreter options of their manager, as those of multiprocessing do.",
        "3.11.7, 3.13.0", _lists_the_options_of_the_interpreter,
    ),
    PrivateApi(
        PYTHON, "the variables of multiprocessing.popen_fork.Popen._launch(), such as parent_r",
        "engine/forkserver/server.py",
        "If a fork fails, the pipes in these variables stay open; nothing is closed if the names change.",
        "3.11.7, 3.13.0", _names_its_pipes,
    ),
    PrivateApi(
        PYTHON, "atexit._run_exitfuncs", "engine/worker/exit_handlers.py",
        "A worker ends with os._exit(), which runs no exit handlers; multiprocessing calls this, too.",
        "3.11.7, 3.13.0", _runs_exit_handlers,
    ),
    PrivateApi(
        PYTHON, "weakref.finalize._registry", "engine/worker/exit_handlers.py",
        "A worker must not remove a temporary folder that the fork server created for all workers.",
        "3.11.7, 3.13.0", _finalizers_are_registered,
    ),
    PrivateApi(
        PYTHON, "sys._current_frames", "engine/thread_stacks.py",
        "Stacks of threads are logged with names; faulthandler only writes to a descriptor, without names.",
        "3.11.7", _shows_the_frames_of_threads,
    ),
)  # fmt: skip


def main() -> int:
    """Print the APIs that are missing or have changed; return 1 if there are any."""
    problems = [problem for api in PRIVATE_APIS if (problem := api.problem())]
    print("\n".join(problems) or f"{len(PRIVATE_APIS)} private APIs have not changed.")
    return len(problems) > 0


if __name__ == "__main__":
    sys.exit(main())
