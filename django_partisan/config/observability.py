"""The settings for logs, spans and metrics.

``PARTISAN_OBSERVABILITY`` is a dict that is read on each use. A manager passes its resolved values to its
workers (``resolved()``, ``use_resolved()``), so that both use the same values.
"""

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings

from django_partisan.config.problems import SHARED_PORT, WRONG_OBSERVABILITY, Problem, refuse
from django_partisan.config.queues import queue_names
from django_partisan.config.validation import BOOLEAN, Rule, Setting, integer, one_of, or_none, seconds

SETTING: Final = "PARTISAN_OBSERVABILITY"

PROPAGATION_LINK: Final = "link"
PROPAGATION_CHILD: Final = "child"
PROPAGATION_NONE: Final = "none"
PROPAGATIONS: Final = (PROPAGATION_LINK, PROPAGATION_CHILD, PROPAGATION_NONE)

NAMING_QUEUE: Final = "queue"

DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
WAIT_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600)
REDACTED: Final = (
    "password",
    "passwd",
    "token",
    "secret",
    "authorization",
    "cookie",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "session",
    "credential",
)


def _is_port_by_queue(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(queue, str) and _PORT.accepts(port) for queue, port in value.items())
    return _PORT.accepts(value)


def _are_buckets(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(_SECONDS.accepts(bound) and bound > 0 for bound in value)
        and all(low < high for low, high in itertools.pairwise(value))
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(name, str) and name for name in value
    )


_SECONDS: Final = seconds(0)
_PORT_NUMBER: Final = Rule(
    lambda value: integer(0).accepts(value) and value <= 65535, "a port from 0 to 65535"
)
_PORT: Final = or_none(_PORT_NUMBER)
_BUCKETS: Final = Rule(_are_buckets, "a list or tuple of increasing numbers of seconds, all above 0")
_NAMES: Final = Rule(_are_names, "a list or tuple of non-empty strings")

KEYS: Final[Mapping[str, Setting]] = {
    "METRICS_PORT": Setting(
        None,
        Rule(_is_port_by_queue, "a port from 0 to 65535, None, or a dict of queue names and ports"),
        "Port for metrics and probes. `0` takes any free port, which is logged. In the settings, `None` "
        "turns metrics and probes off, and a dict gives each queue its own port. "
        "Set it if Prometheus or probes watch the manager.",
        int,
    ),
    "METRICS_HOST": Setting(
        "127.0.0.1",
        Rule(lambda value: isinstance(value, str) and bool(value), "a host name or address to bind"),
        "Address to serve metrics on. Change it if Prometheus runs on another host.",
        str,
    ),
    "METRICS_TOKEN_FILE": Setting(
        None,
        or_none(
            Rule(lambda value: isinstance(value, str | os.PathLike) and bool(os.fspath(value)), "a path")
        ),
        "File with the bearer token that `/metrics` requires. Probes do not require it. "
        "Set it if others can reach the port.",
        str,
    ),
    "METRICS_REQUIRED": Setting(
        True,
        BOOLEAN,
        "Refuse to start if metrics cannot be served. If `False`, log the error and run without metrics. "
        "Set it to `False` if tasks must run even if nobody can observe them.",
    ),
    "METRICS_MAX_SERIES": Setting(
        10_000,
        integer(0),
        "Maximum number of label sets in addition to those that exist from the start. "
        "Further label sets are counted as `_other`. Raise it if Prometheus can store more series.",
    ),
    "METRICS_MAX_ERROR_TYPES": Setting(
        20,
        integer(0),
        "Maximum number of error types for each processor. Further types are counted as `_other`. "
        "Raise it if a processor raises more error classes, and none of these classes are created at run "
        "time.",
    ),
    "METRICS_CREATED": Setting(
        False,
        BOOLEAN,
        "Export the creation time of each counter and histogram, in series whose names end in `_created`. "
        "Turn it on together with the Prometheus feature `created-timestamp-zero-ingestion`, so that events "
        "before the first scrape are counted.",
    ),
    "DURATION_BUCKETS": Setting(
        DURATION_BUCKETS,
        _BUCKETS,
        "Upper bounds of the buckets of `partisan_task_duration_seconds`, in seconds. "
        "Change them if runs last longer than the highest bound, or if all runs fall between two bounds.",
    ),
    "WAIT_BUCKETS": Setting(
        WAIT_BUCKETS,
        _BUCKETS,
        "Upper bounds of the buckets of `partisan_task_queue_wait_seconds`, in seconds. "
        "Change them if tasks wait longer than the highest bound, or if all waits fall between two bounds.",
    ),
    "METRICS_DB_TIMEOUT": Setting(
        2,
        seconds(0.01),
        "How long a scrape waits for the metrics from the database, in seconds. Raise it if the database "
        "answers more slowly, but keep it below the scrape timeout of Prometheus.",
    ),
    "METRICS_DB_MIN_INTERVAL": Setting(
        5,
        _SECONDS,
        "Shortest time between two queries for the metrics from the database, in seconds. "
        "Even with 0, only one query runs at a time. Raise it if the query loads the database too much.",
    ),
    "METRICS_DB_MAX_AGE": Setting(
        60,
        _SECONDS,
        "How long the last metrics from the database are served if it does not answer, in seconds. "
        "Raise it if short outages should leave no gaps; lower it if old metrics should disappear sooner.",
    ),
    "CLIENT_METRICS": Setting(
        False,
        BOOLEAN,
        "Also count tasks that the application enqueues, requeues, changes or cancels, in the default "
        "registry of prometheus-client. Set it to `True` if Prometheus scrapes the application.",
    ),
    "TRACE_PROPAGATION": Setting(
        PROPAGATION_LINK,
        one_of(*PROPAGATIONS),
        "Whether the span of a run is linked to the span in which the task was enqueued, is a child of that "
        "span, or is neither. A processor can override this setting. "
        "Set it to `child` if your tracing backend does not show links.",
    ),
    "SPAN_NAMING": Setting(
        NAMING_QUEUE,
        one_of(NAMING_QUEUE, "processor"),
        "Name spans by queue or by processor. "
        "Set it to `processor` if your tracing backend groups spans only by name.",
    ),
    "TRACE_CLAIMS": Setting(
        True,
        BOOLEAN,
        "Create a span for each claim that finds tasks. Set it to `False` if there are too many such spans.",
    ),
    "TRACE_SETTLES": Setting(
        False,
        BOOLEAN,
        "Create a span for each settle statement. Set it to `True` if you want to know why outcomes are "
        "written late.",
    ),
    "CARRY_CONTEXT": Setting(
        ("request_id", "user_id", "correlation_id"),
        _NAMES,
        "Context variables of structlog that are stored with a task and bound while it runs. "
        "Change them if you search log lines by other variables.",
    ),
    "TELEMETRY_SHUTDOWN_TIMEOUT": Setting(
        5,
        _SECONDS,
        "How long a process may take to export its telemetry when it ends, in seconds. In a worker, this "
        "time includes the receivers of `worker_stopping` and the exit handlers. Raise it if telemetry is "
        "dropped when processes end.",
    ),
    "LOG_TASK_ARGS": Setting(
        False,
        BOOLEAN,
        "Show the arguments of tasks in logs and in the admin, redacted and truncated to 1 KiB. "
        "Set it to `True` only if everyone who can read the logs or the admin may see the arguments.",
    ),
    "REDACT_KEYS": Setting(
        REDACTED,
        _NAMES,
        "Hide the values of keys that contain one of these words. "
        "Extend the default if the keys of your secrets contain other words.",
    ),
    "LOG_MAX_LINE_BYTES": Setting(
        4000,
        integer(2048),
        "Longest line that the library's own log handler writes, in bytes. Raise it if stack traces are "
        "truncated and lines are written to a file. "
        "In a pipe, lines longer than 4096 bytes could be interleaved.",
    ),
}

_resolved: Mapping[str, Any] | None = None


def value(key: str) -> Any:
    """Return the current value of the setting ``key``, or its default.

    Raises ``WrongSetting``, which names the setting, its value and what is expected.
    """
    if _resolved is not None:
        return _resolved[key]  # validated by the process that resolved it
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        refuse([_wrong_shape(given)])
    found = given.get(key, KEYS[key].default)
    if not KEYS[key].rule.accepts(found):
        refuse(_problems_of_value(key, found))
    return found


def metrics_port(queue: str) -> int | None:
    """Return the port on which the manager of ``queue`` serves metrics, or ``None`` if it serves none."""
    port: int | Mapping[str, int | None] | None = value("METRICS_PORT")
    return port.get(queue) if isinstance(port, Mapping) else port


def resolved() -> dict[str, Any]:
    """Return all settings as a dict of plain values, which can be passed to another process.

    Raises ``WrongSetting``.
    """
    return {key: value(key) for key in KEYS}


def use_resolved(values: Mapping[str, Any] | None) -> None:
    """Use ``values``, the ``resolved()`` settings of another process, instead of this process's settings."""
    global _resolved
    _resolved = values


def problems() -> Iterator[Problem]:
    """Yield a problem for each unknown key, wrong value, and unknown queue in ``METRICS_PORT``."""
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        yield _wrong_shape(given)
        return
    for key, found in given.items():
        if key in KEYS:
            yield from _problems_of_value(key, found)
        else:
            yield Problem(WRONG_OBSERVABILITY, f"A key of {SETTING}", key, "one of " + ", ".join(KEYS))
    ports, known = given.get("METRICS_PORT"), queue_names()
    for queue in ports if isinstance(ports, Mapping) else ():
        if isinstance(queue, str) and queue not in known:
            expected = "one of " + ", ".join(map(repr, known))
            yield Problem(WRONG_OBSERVABILITY, f"A queue of {SETTING}['METRICS_PORT']", queue, expected)


def option_problems(options: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each command-line option with a wrong value; ``None`` means an option not given."""
    for key, setting in KEYS.items():
        given = options.get(key.lower()) if setting.option is not None else None
        rule = _PORT_NUMBER if key == "METRICS_PORT" else setting.rule  # an option cannot be a dict
        if given is not None and not rule.accepts(given):
            place = "--" + key.lower().replace("_", "-")
            yield Problem(WRONG_OBSERVABILITY, place, given, rule.expected)


def shared_ports() -> Iterator[Problem]:
    """Yield a warning for each metrics port that several queues would share on one host."""
    by_port: dict[int, list[str]] = {}
    for queue in queue_names():
        port = metrics_port(queue)
        if port:  # 0 means any free port, None means no metrics
            by_port.setdefault(port, []).append(queue)
    for port, queues in by_port.items():
        if len(queues) > 1:
            place = f"{SETTING}['METRICS_PORT'] of the queues {' and '.join(map(repr, queues))}"
            yield Problem(SHARED_PORT, place, port, "a different port for each")


def _wrong_shape(given: Any) -> Problem:
    return Problem(WRONG_OBSERVABILITY, SETTING, given, "a dict of settings")


def _problems_of_value(key: str, found: Any) -> Iterator[Problem]:
    return KEYS[key].problems(WRONG_OBSERVABILITY, f"{SETTING}[{key!r}]", found)
