"""Validate the definition of a schedule, in the settings or in a row that was created by hand."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from django_partisan import registry
from django_partisan.config import problems
from django_partisan.config.problems import Kind, Problem
from django_partisan.config.queues import check_queue_name, queue_names
from django_partisan.config.schedule_keys import CATCH_UP_ALL, KEYS
from django_partisan.definitions import TaskDefinition
from django_partisan.exceptions import UnknownQueue
from django_partisan.schedules import calls, zones
from django_partisan.schedules.cron import CronError, parse
from django_partisan.schedules.definition import ScheduleDefinition


class Fault(NamedTuple):
    """A problem of one key of a schedule; ``part`` names a part, such as a field of a cron expression."""

    kind: Kind
    key: str
    """Empty for the schedule as a whole."""
    value: Any
    expected: str
    part: str = ""

    def problem(self, place: str) -> Problem:
        """Return the problem, located at ``place``."""
        meaning = KEYS[self.key].help if self.key in KEYS else ""
        return Problem(self.kind, f"{self.part}{place}", self.value, self.expected, meaning)


def faults(given: Mapping[Any, Any]) -> Iterator[Fault]:
    """Yield the problems of a schedule; ``given`` maps keys to values, and missing keys have defaults."""
    wrong = [*_unknown_keys(given), *_wrong_values(given)]
    yield from wrong
    keys = {fault.key for fault in wrong}
    yield from _time_faults(given, keys)
    yield from _queue_faults(given, keys)
    yield from _task_faults(given, keys)


def _unknown_keys(given: Mapping[Any, Any]) -> Iterator[Fault]:
    for key in given:
        if key not in KEYS:
            expected = "one of " + ", ".join(KEYS)
            yield Fault(problems.UNKNOWN_SCHEDULE_KEY, "", key, expected, "A key of ")


def _wrong_values(given: Mapping[Any, Any]) -> Iterator[Fault]:
    for key, setting in KEYS.items():
        value = given.get(key, setting.default)
        if not setting.rule.accepts(value):  # there is no default for "task"
            yield Fault(problems.WRONG_SCHEDULE, key, value, setting.rule.expected)


def _time_faults(given: Mapping[Any, Any], wrong: Collection[str]) -> Iterator[Fault]:
    cron, every, zone = (given.get(key) for key in ("cron", "every", "time_zone"))
    if (cron is None) == (every is None):
        yield Fault(problems.WRONG_SCHEDULE, "", dict(given), "exactly one of 'cron' and 'every'")
        return
    if every is not None and zone is not None:
        yield Fault(problems.WRONG_SCHEDULE, "time_zone", zone, "no time zone with 'every'")
        return
    if not {"cron", "every", "time_zone"}.isdisjoint(wrong):
        return
    found = [*_cron_faults(cron), *_zone_faults(zone)]
    yield from found
    if not found:
        yield from _tick_faults(given)


def _cron_faults(cron: str | None) -> Iterator[Fault]:
    try:
        if cron is not None:
            parse(cron)
    except CronError as error:
        part = f"The {error.field} field of " if error.field else ""
        yield Fault(problems.WRONG_CRON, "cron", error.value, error.expected, part)


def _zone_faults(zone: str | None) -> Iterator[Fault]:
    try:
        zones.find(zone or settings.TIME_ZONE)
    except ValueError:
        yield Fault(problems.UNKNOWN_TIME_ZONE, "time_zone", zone, "a name such as 'Europe/Berlin'")


def _tick_faults(given: Mapping[Any, Any]) -> Iterator[Fault]:
    key = "every" if given.get("cron") is None else "cron"
    times = ScheduleDefinition.of("", {name: given.get(name) for name in ("task", "time_zone", key)}).times
    if times.after(timezone.now().astimezone(zones.UTC)) is None:
        yield Fault(problems.NEVER_TICKS, key, given[key], "a tick within 50 years")


def _queue_faults(given: Mapping[Any, Any], wrong: Collection[str]) -> Iterator[Fault]:
    name = given.get("queue_name")
    if name is None or "queue_name" in wrong:
        return
    try:
        check_queue_name(name)
    except UnknownQueue:
        expected = "one of " + ", ".join(map(repr, queue_names()))
        yield Fault(problems.UNKNOWN_SCHEDULE_QUEUE, "queue_name", name, expected)


def _task_faults(given: Mapping[Any, Any], wrong: Collection[str]) -> Iterator[Fault]:
    if "task" in wrong:
        return
    name = given["task"]
    try:
        definition = registry.find_or_import(name)
    except Exception as error:  # the module may raise anything
        expected = f"a path whose module can be imported; it raised {type(error).__name__}: {error}"
        yield Fault(problems.UNKNOWN_SCHEDULED_TASK, "task", name, expected)
        return
    if definition is None:
        yield Fault(problems.UNKNOWN_SCHEDULED_TASK, "task", name, _known_tasks(name))
        return
    if {"args", "kwargs"}.isdisjoint(wrong):
        yield from _call_faults(definition, list(given.get("args", [])), dict(given.get("kwargs", {})))
    if given.get("catch_up") == CATCH_UP_ALL:
        yield from _catch_up_faults(definition, given.get("overlap", True))


def _known_tasks(name: str) -> str:
    expected = "the registered name of a processor, or the path of a function with @task"
    close = get_close_matches(name, registry.definitions, 1)
    return f"{expected}; did you mean {close[0]!r}?" if close else expected


def _call_faults(definition: TaskDefinition, args: list[Any], kwargs: dict[str, Any]) -> Iterator[Fault]:
    if said := calls.refusal(definition, args, kwargs):
        key = "kwargs" if kwargs and not args else "args"
        value = kwargs if key == "kwargs" else args
        yield Fault(problems.WRONG_SCHEDULED_CALL, key, value, f"other arguments ({said})")


def _catch_up_faults(definition: TaskDefinition, overlap: Any) -> Iterator[Fault]:
    if definition.unique:
        expected = f"'one' or 'none', because {definition.name} is unique: a duplicate waits only once"
        yield Fault(problems.CANNOT_CATCH_UP, "catch_up", CATCH_UP_ALL, expected)
    if overlap is False:
        expected = "'one' or 'none', because overlap is False"
        yield Fault(problems.CANNOT_CATCH_UP, "catch_up", CATCH_UP_ALL, expected)
