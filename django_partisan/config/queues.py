"""The settings of each queue: what they are, and where a value comes from.

A key is looked up in ``PARTISAN_CONFIG[queue]``, then (if version 1 had it) as a flat setting of that
name; then its default is used. Settings are read when used, never cached.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

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
from django_partisan.config.validation import BOOLEAN, Setting, integer, or_none, seconds
from django_partisan.exceptions import UnknownQueue, WrongSetting
from django_partisan.moments import LONGEST_DELAY_SECONDS
from django_partisan.names import DEFAULT_QUEUE as DEFAULT_QUEUE
from django_partisan.names import QUEUE_NAME_MAX_LENGTH

KEPT: Final = or_none(seconds(0, LONGEST_DELAY_SECONDS), ", forever")
"""For how many seconds a row may be kept."""
LEAST_TIMEOUT_SECONDS: Final = 0.001
LEAST_GRACE_SECONDS: Final = 0.1
"""Workers rely on it: the manager kills a worker only for a run that has lasted longer than this."""


def usable_cores() -> int:
    """Return how many cores this process may use, which affinity or a container may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover: macOS has no affinity


KEYS: Final[Mapping[str, Setting]] = {
    "MIN_QUEUE_SIZE": Setting(
        2,
        integer(0),
        "Claim more tasks when this many or fewer are claimed and not started. "
        "Raise it if workers wait between claims.",
        int,
        flat=True,
    ),
    "MAX_QUEUE_SIZE": Setting(
        10,
        integer(1),
        "Hold at most this many claimed, unstarted tasks. Raise it if tasks take only milliseconds.",
        int,
        flat=True,
    ),
    "CHECKS_BEFORE_CLEANUP": Setting(
        50,
        integer(1),
        "Check the claiming connection after this many claims, and close it if it is too old or broken.",
        int,
        flat=True,
    ),
    "WORKERS_COUNT": Setting(
        usable_cores,
        integer(1),
        "Number of worker processes. Raise it if tasks mostly wait for other systems.",
        int,
        flat=True,
    ),
    "SLEEP_DELAY_SECONDS": Setting(
        2,
        seconds(0.01),
        "Look for due tasks after this many seconds without a notification. Lower it if `LISTEN` is `False`.",
        float,
        flat=True,
    ),
    "TASKS_PER_WORKER_INSTANCE": Setting(
        None,
        or_none(integer(1)),
        "Replace a worker process after this many tasks; `None`: never. Set it if tasks leak memory.",
        flat=True,
    ),
    "DELETE_TASKS_ON_COMPLETE": Setting(
        False,
        BOOLEAN,
        "Delete the row of a completed task instead of keeping it as `finished`.",
        flat=True,
    ),
    "KEEP_FINISHED_SECONDS": Setting(
        14 * 86_400,
        KEPT,
        "Managers delete the row of a completed task this many seconds after its end; `None`: never. "
        "A processor's attribute of this name wins. Lower it if the table grows too large.",
    ),
    "KEEP_FAILED_SECONDS": Setting(
        None,
        KEPT,
        "Managers delete the row of a failed task this many seconds after its end; `None`: never. "
        "A processor's attribute of this name wins. Set it if nobody looks at old failures.",
    ),
    "DEFAULT_POSTPONE_DELAY_SECONDS": Setting(
        5,
        seconds(0, LONGEST_DELAY_SECONDS),
        "How many seconds a task waits after a `PostponeTask()` without seconds.",
        flat=True,
    ),
    "DEFAULT_POSTPONES_COUNT": Setting(
        15,
        or_none(integer(0)),
        "How many times a task may be postponed before it fails; `None`: no limit.",
        flat=True,
    ),
    "LEASE_SECONDS": Setting(
        30,
        seconds(3),
        "A manager is considered dead after this many seconds without a heartbeat. "
        "Heartbeats are sent every third of it.",
    ),
    "MAX_CRASHES": Setting(
        3, integer(1), "How many times a task is run again after its worker died. After that it fails."
    ),
    "UNREGISTERED_GRACE_SECONDS": Setting(
        86_400,
        seconds(0),
        "How many seconds a task is held while no manager knows its processor. After that it fails. "
        "Raise it if managers may be deployed more than a day after the code that enqueues.",
    ),
    "DEFAULT_TIMEOUT_SECONDS": Setting(
        None,
        or_none(seconds(LEAST_TIMEOUT_SECONDS)),
        "Interrupt a run that lasts longer than this many seconds, if its processor has no "
        "`TIMEOUT_SECONDS`; `None`: no limit.",
    ),
    "INTERRUPT_GRACE_SECONDS": Setting(
        10,
        seconds(LEAST_GRACE_SECONDS),
        "How many seconds a run may take to end after it was interrupted, for its time limit or because its "
        "task was cancelled. After that its worker is killed. Raise it if tasks need longer to clean up.",
    ),
    "LISTEN": Setting(
        True,
        BOOLEAN,
        "Wake the manager by `LISTEN`/`NOTIFY`. "
        "Set it to `False` behind a pooler in transaction mode; then only `SLEEP_DELAY_SECONDS` counts.",
    ),
    "STOP_TIMEOUT_SECONDS": Setting(
        None,
        or_none(seconds(0)),
        "End running tasks by force after this many seconds of draining; `None`: wait until they finish.",
        float,
    ),
    "PRELOAD": Setting(
        True,
        BOOLEAN,
        "Load Django and the processors once, before workers are forked. "
        "Set it to `False` if your code must be loaded in each worker.",
    ),
    "RESET_SESSION": Setting(
        False,
        BOOLEAN,
        "Run `DISCARD ALL` on the PostgreSQL connections of a task when its run ends. "
        "Set it to `True` if tasks leave `SET`, advisory locks or temporary tables in the session.",
    ),
}


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
    keep_finished_seconds: float | None
    keep_failed_seconds: float | None
    default_postpone_delay_seconds: float
    default_postpones_count: int | None
    lease_seconds: float
    max_crashes: int
    unregistered_grace_seconds: float
    default_timeout_seconds: float | None
    interrupt_grace_seconds: float
    listen: bool
    stop_timeout_seconds: float | None
    preload: bool
    reset_session: bool


def queue_names() -> list[str]:
    """Return the queues that exist: those of ``PARTISAN_CONFIG`` and ``TASKS``, and ``default`` always."""
    names = named_queues()
    return names if DEFAULT_QUEUE in names else [DEFAULT_QUEUE, *names]


def named_queues() -> list[str]:
    """Return the queues of ``PARTISAN_CONFIG`` and ``TASKS``; ``default`` only if it is one of them."""
    return list(dict.fromkeys((*_configured(), *task_backends.queue_names())))


def check_queue_name(name: str) -> None:
    """Raise ``UnknownQueue``, naming the known ones, unless the settings define ``name`` or allow every name.

    Raises ``WrongSetting`` if they do, but it does not fit into the table.
    """
    if name == DEFAULT_QUEUE:
        return
    known = queue_names()
    if name not in known and not task_backends.allow_every_queue():
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

    Raises ``UnknownQueue``, or ``WrongSetting`` naming every value that is not accepted.
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
    """Yield every wrong setting of every queue; a wrong flat setting only once."""
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
    """Return where the value of ``key`` for ``queue`` comes from, and the value."""
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
