"""The settings of each queue: names, defaults, what is allowed, and where a value comes from.

A key is looked up in ``PARTISAN_CONFIG[queue]``, then (if it existed before version 2) as a flat
setting of that name, then here. ``PARTISAN_CONFIG`` is read when used, never cached.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings

from django_partisan.exceptions import UnknownQueue, WrongSetting
from django_partisan.names import DEFAULT_QUEUE as DEFAULT_QUEUE
from django_partisan.names import QUEUE_NAME_MAX_LENGTH

LEASE_SECONDS_MIN = 3


@dataclass(frozen=True)
class QueueConfig:
    """The resolved settings of one queue; durations in seconds."""

    queue: str
    min_queue_size: int
    max_queue_size: int
    checks_before_cleanup: int
    workers_count: int
    sleep_delay_seconds: float
    tasks_per_worker_instance: int | None
    delete_tasks_on_complete: bool
    default_postpone_delay_seconds: float
    default_postpones_count: int | None
    lease_seconds: float
    max_crashes: int
    listen: bool
    stop_timeout_seconds: float | None
    preload: bool


@dataclass(frozen=True)
class Key:
    """One settings key: its default, whether a flat setting may give it, and what it accepts."""

    default: Any
    accepts: Callable[[Any], bool]
    expected: str
    flat: bool = True


WRONG_SHAPE = "wrong shape"
WRONG_QUEUE_NAME = "wrong queue name"
UNKNOWN_KEY = "unknown key"
WRONG_VALUE = "wrong value"
MIN_ABOVE_MAX = "MIN above MAX"


@dataclass(frozen=True)
class Problem:
    """A wrong setting: where it stands, what it is, what was expected, and which kind of wrong it is."""

    place: str
    value: Any
    expected: str
    kind: str = WRONG_VALUE

    def __str__(self) -> str:
        return f"{self.place} is {self.value!r}; expected {self.expected}."


def usable_cores() -> int:
    """Return how many cores this process may use, which affinity or a container may narrow."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover: macOS has no affinity


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_seconds(value: Any, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < float("inf")


def _int_from(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: _is_int(value, least), f"an integer, at least {least}"


def _int_or_none_from(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value is None or _is_int(value, least), f"an integer, at least {least}, or None"


def _seconds_from(least: float) -> tuple[Callable[[Any], bool], str]:
    return lambda value: _is_seconds(value, least), f"a number of seconds, at least {least}"


_BOOLEAN: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, bool), "True or False")
_SECONDS_OR_NONE: tuple[Callable[[Any], bool], str] = (
    lambda value: value is None or _is_seconds(value, 0),
    "a number of seconds, at least 0, or None to wait as long as it takes",
)

KEYS: Mapping[str, Key] = {
    "MIN_QUEUE_SIZE": Key(2, *_int_from(0)),
    "MAX_QUEUE_SIZE": Key(10, *_int_from(1)),
    "CHECKS_BEFORE_CLEANUP": Key(50, *_int_from(1)),
    "WORKERS_COUNT": Key(usable_cores, *_int_from(1)),
    "SLEEP_DELAY_SECONDS": Key(2, *_seconds_from(0.01)),
    "TASKS_PER_WORKER_INSTANCE": Key(None, *_int_or_none_from(1)),
    "DELETE_TASKS_ON_COMPLETE": Key(False, *_BOOLEAN),
    "DEFAULT_POSTPONE_DELAY_SECONDS": Key(5, *_seconds_from(0)),
    "DEFAULT_POSTPONES_COUNT": Key(15, *_int_or_none_from(0)),
    "LEASE_SECONDS": Key(30, *_seconds_from(LEASE_SECONDS_MIN), flat=False),
    "MAX_CRASHES": Key(3, *_int_from(1), flat=False),
    "LISTEN": Key(True, *_BOOLEAN, flat=False),
    "STOP_TIMEOUT_SECONDS": Key(None, *_SECONDS_OR_NONE, flat=False),
    "PRELOAD": Key(True, *_BOOLEAN, flat=False),
}


def queue_names() -> list[str]:
    """Return the queues that exist: those of ``PARTISAN_CONFIG``, and ``default`` always."""
    configured = getattr(settings, "PARTISAN_CONFIG", {})
    names = list(configured) if isinstance(configured, Mapping) else []
    return names if DEFAULT_QUEUE in names else [DEFAULT_QUEUE, *names]


def check_queue_name(name: str) -> None:
    """Raise ``UnknownQueue``, naming the known ones, unless the settings define ``name``.

    Raises ``WrongSetting`` if they do, but it does not fit into the table.
    """
    if name == DEFAULT_QUEUE:
        return
    known = queue_names()
    if name not in known:
        listed = ", ".join(map(repr, known))
        raise UnknownQueue(
            f"Unknown queue {name!r}; known: {listed}. Add it to PARTISAN_CONFIG, or correct the name."
        )
    if len(name) > QUEUE_NAME_MAX_LENGTH:
        raise WrongSetting(
            f"Queue name {name!r} has {len(name)} characters; at most {QUEUE_NAME_MAX_LENGTH} fit."
        )


def queue_config(name: str = DEFAULT_QUEUE, **overrides: Any) -> QueueConfig:
    """Return the resolved settings of queue ``name``; ``overrides`` (by field) win over all.

    Raises ``UnknownQueue``, or ``WrongSetting`` naming every value that cannot work.
    """
    check_queue_name(name)
    values = {key.lower(): _value_of(name, key)[1] for key in KEYS}
    values.update(overrides)
    wrong = [*_problems_of_queue(name, overrides), *_problems_of_shape()]
    if wrong:
        raise WrongSetting(" ".join(map(str, wrong)))
    return QueueConfig(queue=name, **{field.name: values[field.name] for field in fields(QueueConfig)[1:]})


def queue_value(name: str, key: str) -> Any:
    """Return one setting of queue ``name``."""
    return _value_of(name, key)[1]


def problems() -> Iterator[Problem]:
    """Yield every wrong setting of every queue."""
    yield from _problems_of_shape()
    told: set[str] = set()
    for name in queue_names():
        for problem in _problems_of_queue(name, {}):
            if str(problem) not in told:  # a flat setting is wrong once, not once for each queue
                told.add(str(problem))
                yield problem


def _value_of(queue: str, key: str) -> tuple[str, Any]:
    """Return where the value of ``key`` for ``queue`` comes from, and the value."""
    spec = KEYS[key]
    configured = getattr(settings, "PARTISAN_CONFIG", {})
    own = configured.get(queue) if isinstance(configured, Mapping) else None
    if isinstance(own, Mapping) and key in own:
        return f"PARTISAN_CONFIG[{queue!r}][{key!r}]", own[key]
    if spec.flat and hasattr(settings, key):
        return key, getattr(settings, key)
    return f"the default of {key}", spec.default() if callable(spec.default) else spec.default


def _problems_of_shape() -> Iterator[Problem]:
    configured = getattr(settings, "PARTISAN_CONFIG", {})
    if not isinstance(configured, Mapping):
        yield Problem("PARTISAN_CONFIG", configured, "a dict of queue names and their settings", WRONG_SHAPE)
        return
    for name, own in configured.items():
        if not isinstance(name, str) or not 1 <= len(name) <= QUEUE_NAME_MAX_LENGTH:
            expected = f"queue names of 1 to {QUEUE_NAME_MAX_LENGTH} characters"
            yield Problem("A key of PARTISAN_CONFIG", name, expected, WRONG_QUEUE_NAME)
        if not isinstance(own, Mapping):
            yield Problem(f"PARTISAN_CONFIG[{name!r}]", own, "a dict of settings", WRONG_SHAPE)
            continue
        for key in own:
            if key not in KEYS:
                place = f"A key of PARTISAN_CONFIG[{name!r}]"
                yield Problem(place, key, "one of " + ", ".join(KEYS), UNKNOWN_KEY)


def _problems_of_queue(queue: str, overrides: Mapping[str, Any]) -> Iterator[Problem]:
    found = {key: _value_of(queue, key) for key in KEYS}
    for field, value in overrides.items():
        found[field.upper()] = (f"--{field}", value)
    for key, (place, value) in found.items():
        if not KEYS[key].accepts(value):
            yield Problem(place, value, KEYS[key].expected)
    (low_place, low), (high_place, high) = found["MIN_QUEUE_SIZE"], found["MAX_QUEUE_SIZE"]
    if _is_int(low, 0) and _is_int(high, 1) and low > high:
        yield Problem(low_place, low, f"at most {high}, which is {high_place}", MIN_ABOVE_MAX)
