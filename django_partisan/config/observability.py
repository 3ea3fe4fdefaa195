"""The settings of logs, spans and metrics: names, defaults, what is allowed.

``PARTISAN_OBSERVABILITY`` is one dict, read when used. A manager hands its workers the values it
resolved (``resolved()``, ``adopt()``), so that both see the same.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from django.conf import settings

from django_partisan.config.queues import Key, Problem, queue_names
from django_partisan.exceptions import WrongSetting

SETTING: Final = "PARTISAN_OBSERVABILITY"

PROPAGATION_LINK: Final = "link"
PROPAGATION_CHILD: Final = "child"
PROPAGATION_NONE: Final = "none"
PROPAGATIONS: Final = (PROPAGATION_LINK, PROPAGATION_CHILD, PROPAGATION_NONE)

NAMING_QUEUE: Final = "queue"
NAMING_PROCESSOR: Final = "processor"

DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
WAIT_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600)
CARRIED: Final = ("request_id", "user_id", "correlation_id")
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
LINE_BYTES_MIN: Final = 2048

_Accepts = tuple[Callable[[Any], bool], str]


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < math.inf


def _is_port(value: Any) -> bool:
    return value is None or (_is_int(value, 0) and value <= 65535)


def _is_port_by_queue(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(queue, str) and _is_port(port) for queue, port in value.items())
    return _is_port(value)


def _are_buckets(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    if not all(_is_number(bound, 0) and bound > 0 for bound in value):
        return False
    return all(low < high for low, high in itertools.pairwise(value))


def _are_names(value: Any) -> bool:
    sequence = isinstance(value, list | tuple | set | frozenset)
    return sequence and all(isinstance(name, str) and name for name in value)


def _is_path(value: Any) -> bool:
    return value is None or (isinstance(value, str | os.PathLike) and bool(os.fspath(value)))


def _int_from(least: int) -> _Accepts:
    return lambda value: _is_int(value, least), f"an integer, at least {least}"


def _seconds_from(least: float) -> _Accepts:
    return lambda value: _is_number(value, least), f"a number of seconds, at least {least}"


def _one_of(*words: str) -> _Accepts:
    return lambda value: isinstance(value, str) and value in words, "one of " + ", ".join(map(repr, words))


_BOOLEAN: _Accepts = (lambda value: isinstance(value, bool), "True or False")
_NAMES: _Accepts = (_are_names, "a list or tuple of non-empty strings")
_BUCKETS: _Accepts = (_are_buckets, "a list or tuple of rising numbers of seconds above 0")
_HOST: _Accepts = (lambda value: isinstance(value, str) and bool(value), "a host name or address to bind")
_PORT: _Accepts = (_is_port_by_queue, "a port from 0 to 65535, None, or a dict of queue names and ports")
_PATH: _Accepts = (_is_path, "a path, or None")

KEYS: Final[Mapping[str, Key]] = {
    "METRICS_PORT": Key(None, *_PORT),
    "METRICS_HOST": Key("127.0.0.1", *_HOST),
    "METRICS_TOKEN_FILE": Key(None, *_PATH),
    "METRICS_REQUIRED": Key(True, *_BOOLEAN),
    "METRICS_MAX_SERIES": Key(10_000, *_int_from(0)),
    "METRICS_MAX_ERROR_TYPES": Key(20, *_int_from(0)),
    "DURATION_BUCKETS": Key(DURATION_BUCKETS, *_BUCKETS),
    "WAIT_BUCKETS": Key(WAIT_BUCKETS, *_BUCKETS),
    "METRICS_DB_TIMEOUT": Key(2, *_seconds_from(0.01)),
    "METRICS_DB_MIN_INTERVAL": Key(5, *_seconds_from(0)),
    "METRICS_DB_MAX_AGE": Key(60, *_seconds_from(0)),
    "CLIENT_METRICS": Key(False, *_BOOLEAN),
    "TRACE_PROPAGATION": Key(PROPAGATION_LINK, *_one_of(*PROPAGATIONS)),
    "SPAN_NAMING": Key(NAMING_QUEUE, *_one_of(NAMING_QUEUE, NAMING_PROCESSOR)),
    "TRACE_CLAIMS": Key(True, *_BOOLEAN),
    "TRACE_SETTLES": Key(False, *_BOOLEAN),
    "CARRY_CONTEXT": Key(CARRIED, *_NAMES),
    "TELEMETRY_SHUTDOWN_TIMEOUT": Key(5, *_seconds_from(0)),
    "LOG_TASK_ARGS": Key(False, *_BOOLEAN),
    "REDACT_KEYS": Key(REDACTED, *_NAMES),
    "LOG_MAX_LINE_BYTES": Key(4000, *_int_from(LINE_BYTES_MIN)),
}

_adopted: Mapping[str, Any] | None = None


def value(key: str) -> Any:
    """Return the setting ``key`` as it is now, or its default.

    Raises ``WrongSetting`` naming place, value and what was expected.
    """
    if _adopted is not None:
        return _adopted[key]  # checked by the process that resolved it
    found = _given().get(key, KEYS[key].default)
    if not KEYS[key].accepts(found):
        raise WrongSetting(str(_problem(key, found)))
    return found


def metrics_port(queue: str) -> int | None:
    """Return the port on which the manager of ``queue`` serves metrics; ``None`` is off."""
    port: int | Mapping[str, int | None] | None = value("METRICS_PORT")
    return port.get(queue) if isinstance(port, Mapping) else port


def resolved() -> dict[str, Any]:
    """Return every setting, as plain values that can be handed to another process.

    Raises ``WrongSetting``.
    """
    return {key: value(key) for key in KEYS}


def adopt(values: Mapping[str, Any] | None) -> None:
    """Have ``values`` of another process's ``resolved()`` win over this one's settings."""
    global _adopted
    _adopted = values


def problems() -> Iterator[Problem]:
    """Yield every unknown key and every wrong value."""
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        yield Problem(SETTING, given, "a dict of settings")
        return
    for key, found in given.items():
        if key not in KEYS:
            yield Problem(f"A key of {SETTING}", key, "one of " + ", ".join(KEYS))
        elif not KEYS[key].accepts(found):
            yield _problem(key, found)
        elif key == "METRICS_PORT" and isinstance(found, Mapping):
            yield from _unknown_queues(found)


def shared_ports() -> Iterator[Problem]:
    """Yield, for a warning, every metrics port that two queues would have to share on one host."""
    ports = value("METRICS_PORT")
    by_port: dict[int, list[str]] = {}
    for queue in queue_names():
        port = ports.get(queue) if isinstance(ports, Mapping) else ports
        if port:  # 0 is any free port, and None is none
            by_port.setdefault(port, []).append(queue)
    for port, queues in by_port.items():
        if len(queues) > 1:
            listed = " and ".join(map(repr, queues))
            yield Problem(
                f"{SETTING}['METRICS_PORT'] of the queues {listed}", port, "a port of its own for each"
            )


def _given() -> Mapping[str, Any]:
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        raise WrongSetting(str(Problem(SETTING, given, "a dict of settings")))
    return given


def _problem(key: str, found: Any) -> Problem:
    return Problem(f"{SETTING}[{key!r}]", found, KEYS[key].expected)


def _unknown_queues(ports: Mapping[str, Any]) -> Iterator[Problem]:
    known = queue_names()
    for queue in ports:
        if queue not in known:
            expected = "one of " + ", ".join(map(repr, known))
            yield Problem(f"A queue of {SETTING}['METRICS_PORT']", queue, expected)
