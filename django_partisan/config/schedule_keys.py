"""The keys of a schedule: their names, defaults, accepted values and meanings.

``schedules.validation`` validates what depends on the registry, time zones or cron expressions.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django_partisan.config.validation import (
    BOOLEAN,
    EXPIRY,
    PRIORITY,
    Rule,
    Setting,
    container,
    one_of,
    or_none,
)
from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH, QUEUE_NAME_MAX_LENGTH

CATCH_UP_ONE: Final = "one"
CATCH_UP_NONE: Final = "none"
CATCH_UP_ALL: Final = "all"
CATCH_UPS: Final = (CATCH_UP_ONE, CATCH_UP_NONE, CATCH_UP_ALL)
EVERY_MAX: Final = 2**31 - 1
"""The longest interval that the column holds, in seconds."""


def text(longest: int, what: str) -> Rule:
    """Return a rule that accepts printable strings of at most ``longest`` characters, as the column does."""
    return Rule(
        lambda value: isinstance(value, str) and 0 < len(value) <= longest and value.isprintable(),
        f"{what} of 1 to {longest} printable characters",
    )


def whole_seconds(value: Any) -> int | None:
    """Return an interval in seconds, or ``None`` if ``every`` does not accept it."""
    if isinstance(value, timedelta):
        value = value // timedelta(seconds=1) if value % timedelta(seconds=1) == timedelta() else None
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= EVERY_MAX
    return value if is_whole else None


NAME_MAX_LENGTH: Final = 200
"""The longest name: metrics cut labels at this length, so longer names could become equal."""
OTHERS: Final = "_other"
"""The label that the schedules without series of their own share in metrics."""
_NAME: Final = text(NAME_MAX_LENGTH, "a name")
NAME: Final = Rule(
    lambda value: _NAME.accepts(value) and value != OTHERS, f"{_NAME.expected}, and not '{OTHERS}'"
)
KEYS: Final[Mapping[str, Setting]] = {
    "task": Setting(
        None,
        text(PROCESSOR_NAME_MAX_LENGTH, "the name of a processor or the path of a function,"),
        "The task to enqueue: the registered name of a processor, or the path of a function decorated with "
        "`@task`. Required.",
    ),
    "cron": Setting(
        None,
        or_none(container("a string", str)),
        "When the schedule ticks: a cron expression of five fields, or a name such as `@daily`. Give either "
        "this or `every`.",
    ),
    "every": Setting(
        None,
        or_none(
            Rule(
                lambda value: whole_seconds(value) is not None,
                f"whole seconds from 1 to {EVERY_MAX}, as an integer or a timedelta",
            )
        ),
        "When the schedule ticks: at each multiple of this many seconds since 1970 in UTC. Give either this "
        "or `cron`.",
    ),
    "time_zone": Setting(
        None,
        or_none(text(PROCESSOR_NAME_MAX_LENGTH, "a time zone name")),
        "The time zone of `cron`, such as `Europe/Berlin`; `None` means the setting `TIME_ZONE`.",
    ),
    "args": Setting([], container("a list or tuple", list, tuple), "The positional arguments of the task."),
    "kwargs": Setting(
        {}, container("a dict with strings as keys", dict), "The keyword arguments of the task."
    ),
    "queue_name": Setting(
        None,
        or_none(text(QUEUE_NAME_MAX_LENGTH, "a queue name")),
        "The queue of the task; `None` means the task's own queue. Set it to separate the tasks of schedules "
        "from other tasks.",
    ),
    "priority": Setting(
        None,
        or_none(PRIORITY),
        "The priority of the task; tasks with lower values run earlier. `None` means the task's own "
        "priority.",
    ),
    "catch_up": Setting(
        CATCH_UP_ONE,
        one_of(*CATCH_UPS),
        "Which ticks are enqueued if no manager enqueued them in time: the newest (`one`), the newest if it "
        "is less than 60 s late (`none`), or the newest 1,000 (`all`).",
    ),
    "overlap": Setting(
        True,
        BOOLEAN,
        "Whether a tick is enqueued while the task of the previous tick is waiting or running. Set it to "
        "`False` for tasks that must not run twice at the same time.",
    ),
    "expires_seconds": Setting(
        None,
        or_none(EXPIRY),
        "The task expires if it has not started this many seconds after the tick; `None` means the task's "
        "own expiry. Set it if a late task is useless once the next tick is due.",
    ),
}
