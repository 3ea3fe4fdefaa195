"""The schedules of the managers. Together, they produce every outcome of a tick."""

from typing import Any, Final

EVERY_SECOND = "every second"
EVERY_SECOND_ALL = "every second, all"
EVERY_SECOND_ALONE = "every second, no overlap"
EVERY_SECOND_UNIQUE = "every second, unique"
EVERY_MINUTE = "every minute"

SCHEDULES: Final[dict[str, dict[str, Any]]] = {
    EVERY_SECOND: {"task": "Ticked", "every": 1},
    EVERY_SECOND_ALL: {"task": "Ticked", "every": 1, "catch_up": "all"},
    EVERY_SECOND_ALONE: {"task": "SlowlyTicked", "every": 1, "overlap": False},
    EVERY_SECOND_UNIQUE: {"task": "UniquelyTicked", "every": 1},
    EVERY_MINUTE: {"task": "Ticked", "cron": "* * * * *", "catch_up": "all"},
}
"""The setting of the managers. The tasks of the third schedule run for longer than the interval of the ticks,
and those of the fourth wait again after their first run, so the next tick is an overlap or a duplicate."""

for _name, _setting in SCHEDULES.items():
    _setting["args"] = [_name]

_MINUTE: Final = 60.0
SECONDS: Final = {name: float(setting.get("every", _MINUTE)) for name, setting in SCHEDULES.items()}
"""The interval between ticks, in seconds. The only cron expression means every minute."""
TASK_SECONDS = 1.4
"""How long a task of the slow schedule runs, and how long one of the unique schedule waits again."""
REST_SECONDS = 10.0
"""How long the task of a tick may take to end when no faults are injected."""


def is_catching_up(name: str) -> bool:
    """Return whether a schedule enqueues the ticks of an outage."""
    return SCHEDULES[name].get("catch_up") == "all"


def is_overlapping(name: str) -> bool:
    """Return whether a schedule enqueues a task while its last one is waiting or running."""
    return bool(SCHEDULES[name].get("overlap", True))
