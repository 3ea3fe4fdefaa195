"""Read and validate the schedules of the setting ``PARTISAN_SCHEDULES``."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings

from django_partisan.config.problems import WRONG_SCHEDULE, Problem, refuse
from django_partisan.config.schedule_keys import NAME
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.schedules.validation import faults

SETTING: Final = "PARTISAN_SCHEDULES"


def configured() -> dict[str, ScheduleDefinition]:
    """Return the definitions in the settings by name; raises ``WrongSetting`` if one is invalid."""
    refuse(problems())
    return {name: ScheduleDefinition.of(name, given) for name, given in _setting_value().items()}


def problems() -> Iterator[Problem]:
    """Yield every problem of the schedules in the settings."""
    given = _setting_value()
    if not isinstance(given, Mapping):
        yield Problem(WRONG_SCHEDULE, SETTING, given, "a dict that maps names to schedules")
        return
    for name, schedule in given.items():
        yield from _of_schedule(name, schedule)


def _of_schedule(name: Any, given: Any) -> Iterator[Problem]:
    place = f"{SETTING}[{name!r}]"
    if not NAME.accepts(name):
        yield Problem(WRONG_SCHEDULE, f"A key of {SETTING}", name, NAME.expected)
    elif not isinstance(given, Mapping):
        yield Problem(WRONG_SCHEDULE, place, given, "a dict with the keys of a schedule")
    else:
        for fault in faults(given):
            yield fault.problem(f"{place}[{fault.key!r}]" if fault.key else place)


def _setting_value() -> Any:
    return getattr(settings, SETTING, {})
