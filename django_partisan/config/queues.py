"""Look up the settings of queues, and the names of the queues that exist.

A key is looked up in ``PARTISAN_CONFIG[queue]``, then (if version 1 had it) as a flat setting of the same
name; otherwise its default applies. Settings are read on each use and never cached.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings

from django_partisan.config import task_backends
from django_partisan.config.problems import (
    MIN_ABOVE_MAX,
    UNKNOWN_KEY,
    WRONG_QUEUE_NAME,
    WRONG_SHAPE,
    WRONG_VALUE,
    Problem,
    refuse,
)
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.config.queue_keys import KEYS
from django_partisan.exceptions import UnknownQueue, WrongSetting
from django_partisan.names import DEFAULT_QUEUE as DEFAULT_QUEUE
from django_partisan.names import QUEUE_NAME_MAX_LENGTH


@dataclass(frozen=True)
class QueueConfig:
    """The resolved settings of one queue; durations are in seconds."""

    queue: str
    min_queue_size: int
    max_queue_size: int
    checks_before_cleanup: int
    workers_count: int
    sleep_delay_seconds: float
    tasks_per_worker_instance: int | None
    delete_tasks_on_complete: bool
    keep_finished_seconds: float | None
    keep_failed_seconds: float | None
    default_postpone_delay_seconds: float
    default_postpones_count: int | None
    default_retry: ErrorsHandleConfig | None
    lease_seconds: float
    max_wait_seconds: float | None
    max_crashes: int
    unregistered_grace_seconds: float
    default_timeout_seconds: float | None
    interrupt_grace_seconds: float
    listen: bool
    stop_timeout_seconds: float | None
    preload: bool
    reset_session: bool


def queue_names() -> list[str]:
    """Return the queues that ``PARTISAN_CONFIG`` and ``TASKS`` name, and always ``default``."""
    first = () if DEFAULT_QUEUE in _configured() else (DEFAULT_QUEUE,)
    return list(dict.fromkeys((*first, *named_queues())))


def named_queues() -> list[str]:
    """Return the queues that ``PARTISAN_CONFIG`` and ``TASKS`` name; ``default`` only if they name it."""
    return list(dict.fromkeys((*_configured(), *task_backends.listed_queues())))


def check_queue_name(name: object) -> None:
    """Raise ``UnknownQueue``, which lists the known queues, unless the settings define ``name`` or allow any.

    Raises ``WrongSetting`` if the name is allowed but too long for the column.
    """
    if name == DEFAULT_QUEUE:
        return
    if not (isinstance(name, str) and _is_known(name)):
        listed = ", ".join(map(repr, queue_names()))
        raise UnknownQueue(
            f"Unknown queue {name!r}; known: {listed}. Add it to PARTISAN_CONFIG, or correct the name."
        )
    if len(name) > QUEUE_NAME_MAX_LENGTH:
        raise WrongSetting(
            f"Queue name {name!r} has {len(name)} characters; expected at most {QUEUE_NAME_MAX_LENGTH}."
        )


def _is_known(name: str) -> bool:
    return name in _configured() or name in task_backends.queue_names() or task_backends.allow_every_queue()


def queue_config(name: str = DEFAULT_QUEUE, **overrides: Any) -> QueueConfig:
    """Return the resolved settings of queue ``name``; ``overrides`` (by field) take precedence.

    Raises ``UnknownQueue``, or ``WrongSetting``, which names every value that is not accepted.
    """
    check_queue_name(name)
    found = {key: _look_up(name, key) for key in KEYS}
    found.update((field.upper(), (f"--{field}", value)) for field, value in overrides.items())
    refuse([*_problems_of_values(found), *_problems_of_shape()])
    return QueueConfig(
        name, **{field.name: found[field.name.upper()][1] for field in fields(QueueConfig)[1:]}
    )


def queue_value(name: str, key: str) -> Any:
    """Return one setting of queue ``name``."""
    return _look_up(name, key)[1]


def problems() -> Iterator[Problem]:
    """Yield a problem for each wrong setting of each queue; a wrong flat setting is reported only once."""
    yield from _problems_of_shape()
    of_values = (
        problem
        for name in queue_names()
        for problem in _problems_of_values({key: _look_up(name, key) for key in KEYS})
    )
    yield from {str(problem): problem for problem in of_values}.values()


def _configured() -> Mapping[Any, Any]:
    configured: Any = getattr(settings, "PARTISAN_CONFIG", {})
    return configured if isinstance(configured, Mapping) else {}


def _look_up(queue: str, key: str) -> tuple[str, Any]:
    """Return the place that the value of ``key`` for ``queue`` comes from, and the value."""
    setting = KEYS[key]
    own = _configured().get(queue)
    if isinstance(own, Mapping) and key in own:
        return f"PARTISAN_CONFIG[{queue!r}][{key!r}]", own[key]
    if setting.flat and hasattr(settings, key):
        return key, getattr(settings, key)
    return f"the default of {key}", setting.default() if callable(setting.default) else setting.default


def _problems_of_shape() -> Iterator[Problem]:
    configured = getattr(settings, "PARTISAN_CONFIG", {})
    if not isinstance(configured, Mapping):
        yield Problem(WRONG_SHAPE, "PARTISAN_CONFIG", configured, "a dict of queue names and their settings")
    for name, own in _configured().items():
        if not isinstance(name, str) or not 1 <= len(name) <= QUEUE_NAME_MAX_LENGTH:
            expected = f"queue names of 1 to {QUEUE_NAME_MAX_LENGTH} characters"
            yield Problem(WRONG_QUEUE_NAME, "A key of PARTISAN_CONFIG", name, expected)
        if not isinstance(own, Mapping):
            yield Problem(WRONG_SHAPE, f"PARTISAN_CONFIG[{name!r}]", own, "a dict of settings")
            continue
        for key in own:
            if key not in KEYS:
                place = f"A key of PARTISAN_CONFIG[{name!r}]"
                yield Problem(UNKNOWN_KEY, place, key, "one of " + ", ".join(KEYS))


def _problems_of_values(found: Mapping[str, tuple[str, Any]]) -> Iterator[Problem]:
    wrong = [
        problem
        for key, (place, value) in found.items()
        for problem in KEYS[key].problems(WRONG_VALUE, place, value)
    ]
    yield from wrong
    (low_place, low), (high_place, high) = found["MIN_QUEUE_SIZE"], found["MAX_QUEUE_SIZE"]
    sizes_are_right = not {low_place, high_place} & {problem.place for problem in wrong}
    if sizes_are_right and low > high:
        yield Problem(MIN_ABOVE_MAX, low_place, low, f"at most {high}, which is {high_place}")
