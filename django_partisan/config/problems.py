"""The problems that settings and processors can have, with one kind for each system check."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django_partisan.exceptions import WrongSetting


class Kind(NamedTuple):
    """A kind of problem: the id of its system check, its meaning, and a hint on how to correct it."""

    id: str
    meaning: str
    hint: str

    @property
    def is_warning(self) -> bool:
        """Whether the check only warns, so that ``start_partisan`` starts all the same."""
        return self.id.startswith("partisan.W")


WRONG_SHAPE: Final = Kind(
    "partisan.E001",
    "`PARTISAN_CONFIG`, or the value for one of its queues, is not a dict.",
    "Write PARTISAN_CONFIG = {'default': {'WORKERS_COUNT': 4}}, for example.",
)
WRONG_QUEUE_NAME: Final = Kind(
    "partisan.E002",
    "The name of a queue is not a string of 1 to 50 characters.",
    "Use a short string as the name of each queue.",
)
UNKNOWN_KEY: Final = Kind(
    "partisan.E003", "A key in a queue's dict is unknown.", "Correct the key, or remove it."
)
WRONG_VALUE: Final = Kind(
    "partisan.E004",
    "The value of a setting is not accepted.",
    "Correct the value, or remove the setting to use its default.",
)
MIN_ABOVE_MAX: Final = Kind(
    "partisan.E005",
    "`MIN_QUEUE_SIZE` is above `MAX_QUEUE_SIZE`.",
    "Lower MIN_QUEUE_SIZE or raise MAX_QUEUE_SIZE of this queue.",
)
WRONG_OBSERVABILITY: Final = Kind(
    "partisan.E006",
    "`PARTISAN_OBSERVABILITY` has an unknown key, or a value that is not accepted.",
    "Correct it in PARTISAN_OBSERVABILITY, or remove it to use the default.",
)
UNKNOWN_QUEUE: Final = Kind(
    "partisan.E008",
    "The `QUEUE_NAME` of a processor is not the name of a queue in the settings.",
    "Add the queue to PARTISAN_CONFIG, or correct the processor's QUEUE_NAME.",
)
WRONG_ATTRIBUTE: Final = Kind(
    "partisan.E009",
    "The value of an attribute of a processor, other than `QUEUE_NAME`, is not accepted.",
    "Correct the attribute, or remove it to use the default.",
)
UNEQUAL_MEASURES: Final = Kind(
    "partisan.E010",
    "Two processors declare a measure with the same name in different ways.",
    "Make both declarations equal, or rename one of the measures.",
)
OPTIONS_OF_BACKEND: Final = Kind(
    "partisan.E011",
    "A `PartisanBackend` in `TASKS` has `OPTIONS`.",
    "Set defaults for a queue in PARTISAN_CONFIG, and options of a function in @task or @task_options.",
)
WRONG_SCHEDULE: Final = Kind(
    "partisan.E012",
    "`PARTISAN_SCHEDULES` or one of its schedules is not a dict, or a value in a schedule is not accepted.",
    "Write PARTISAN_SCHEDULES = {'nightly': {'task': 'NightlyReport', 'cron': '0 3 * * *'}}, for example.",
)
UNKNOWN_SCHEDULE_KEY: Final = Kind(
    "partisan.E013", "A key in a schedule's dict is unknown.", "Correct the key, or remove it."
)
WRONG_CRON: Final = Kind(
    "partisan.E014",
    "The cron expression of a schedule is not accepted; the message names the field.",
    "Correct the field. There are no seconds and no @reboot.",
)
NEVER_TICKS: Final = Kind(
    "partisan.E015",
    "A schedule has no tick within 50 years.",
    "Correct the fields for days and months, or remove the schedule.",
)
UNKNOWN_SCHEDULED_TASK: Final = Kind(
    "partisan.E016",
    "The task of a schedule is not registered, or its module cannot be imported.",
    "Correct the name, or register the processor in a partisan_tasks.py of an installed app.",
)
UNKNOWN_TIME_ZONE: Final = Kind(
    "partisan.E017",
    "The time zone of a schedule is unknown on this host.",
    "Correct the name, or install the package tzdata.",
)
UNKNOWN_SCHEDULE_QUEUE: Final = Kind(
    "partisan.E018",
    "The queue of a schedule is not the name of a queue in the settings.",
    "Add the queue to PARTISAN_CONFIG, or correct the name.",
)
WRONG_SCHEDULED_CALL: Final = Kind(
    "partisan.E019",
    "The task of a schedule cannot be called with its arguments, or these arguments cannot be stored.",
    "Correct 'args' and 'kwargs': the constructor of the processor, or the function, gets them.",
)
CANNOT_CATCH_UP: Final = Kind(
    "partisan.E020",
    "A schedule sets `catch_up` to `'all'`, but its task is unique or its `overlap` is `False`: most ticks "
    "would be lost.",
    "Use 'one', or set UNIQUE_FOR_PARAMS of the processor to False and overlap to True.",
)
SHARED_PORT: Final = Kind(
    "partisan.W001",
    "Two queues would serve metrics on the same port of the same host.",
    "Give METRICS_PORT as a dict of queue names and ports, or use --metrics-port. If the queues are served "
    "on different hosts, silence this check.",
)

NOT_POSTGRESQL: Final = Kind(
    "partisan.W002",
    "The database for tasks is not PostgreSQL, so `delay()` raises an error and `start_partisan` does not "
    "start.",
    "Set its ENGINE to 'django.db.backends.postgresql', or route the app 'django_partisan' to a PostgreSQL "
    "database with a database router.",
)
MISSPELT_ATTRIBUTE: Final = Kind(
    "partisan.W003",
    "A processor has an attribute that the library does not read and whose name looks misspelled.",
    "The library does not read this attribute. Correct its name; if it is your own, rename it or silence "
    "this check.",
)
MISSPELT_SETTING: Final = Kind(
    "partisan.W004",
    "A setting looks like a misspelled `PARTISAN_CONFIG`, `PARTISAN_SCHEDULES`, `PARTISAN_OBSERVABILITY` or "
    "`PARTISAN_IMMEDIATE`.",
    "The library does not read this setting. Correct its name; if it is another application's, silence "
    "this check.",
)
IMMEDIATE_IN_PRODUCTION: Final = Kind(
    "partisan.W005",
    "`PARTISAN_IMMEDIATE` is set: tasks run in the processes that enqueue them (only with `check --deploy`).",
    "Remove PARTISAN_IMMEDIATE from the production settings: there, managers run the tasks.",
)
SCHEDULE_BY_HAND: Final = Kind(
    "partisan.W006",
    "A schedule in the settings is not used, because a row created by hand has the same name (only with "
    "`check --database`).",
    "Delete the row, or rename one of the two.",
)
VANISHING_RESULTS: Final = Kind(
    "partisan.W011",
    "Rows that store results are deleted less than a minute after their tasks have ended.",
    "A result is stored in the row of its task: without the row, get_result() does not find it. Raise the "
    "value, or silence this check if nobody reads these results.",
)

KINDS: Final = (
    WRONG_SHAPE,
    WRONG_QUEUE_NAME,
    UNKNOWN_KEY,
    WRONG_VALUE,
    MIN_ABOVE_MAX,
    WRONG_OBSERVABILITY,
    UNKNOWN_QUEUE,
    WRONG_ATTRIBUTE,
    UNEQUAL_MEASURES,
    OPTIONS_OF_BACKEND,
    WRONG_SCHEDULE,
    UNKNOWN_SCHEDULE_KEY,
    WRONG_CRON,
    NEVER_TICKS,
    UNKNOWN_SCHEDULED_TASK,
    UNKNOWN_TIME_ZONE,
    UNKNOWN_SCHEDULE_QUEUE,
    WRONG_SCHEDULED_CALL,
    CANNOT_CATCH_UP,
    SHARED_PORT,
    NOT_POSTGRESQL,
    MISSPELT_ATTRIBUTE,
    MISSPELT_SETTING,
    IMMEDIATE_IN_PRODUCTION,
    SCHEDULE_BY_HAND,
    VANISHING_RESULTS,
)


@dataclass(frozen=True)
class Problem:
    """A problem: its kind, the place, the value, what is expected, and what the setting does."""

    kind: Kind
    place: str
    value: Any
    expected: str
    meaning: str = ""
    processor_class: type | None = None

    def __str__(self) -> str:
        return f"{self.place} is {self.value!r}; expected {self.expected}."

    @property
    def hint(self) -> str:
        """What the setting does, and how to correct the problem."""
        return f"{self.meaning} {self.kind.hint}".lstrip()


def refuse(problems: Iterable[Problem]) -> None:
    """Raise ``WrongSetting`` if there are problems; its message has one line for each problem."""
    lines = [str(problem) for problem in problems]
    if lines:
        raise WrongSetting("\n".join(lines))
