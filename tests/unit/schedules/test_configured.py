"""The schedules in the settings: their definitions, and what the checks say about wrong ones."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core import checks as django_checks

from django_partisan import checks, registry
from django_partisan.config.schedule_keys import KEYS
from django_partisan.engine.manager.startup import ensure_right_settings
from django_partisan.exceptions import WrongSetting
from django_partisan.functions.definition import register
from django_partisan.schedules.configured import configured
from django_partisan.schedules.times import FixedInterval
from tests.app import tasks
from tests.support.registry import Idle

FUNCTION = "tests.app.tasks.add"


class Report(Idle):
    """A processor with its own constructor."""

    UNIQUE_FOR_PARAMS = False

    def __init__(self, year: int, *, draft: bool = False) -> None:
        super().__init__(year, draft=draft)


class Cleanup(Idle):
    """A unique processor that takes any arguments."""


@pytest.fixture(autouse=True)
def _processors(own_registry: None, settings: Any) -> None:
    registry.register(Report)
    registry.register(Cleanup)
    register(tasks.add)
    register(tasks.attempt)
    settings.PARTISAN_CONFIG = {"mail": {}}
    settings.PARTISAN_OBSERVABILITY = {}


@pytest.fixture
def schedule(settings: Any):
    """Return a function that puts one schedule into the settings."""

    def set_one(**given: Any) -> None:
        settings.PARTISAN_SCHEDULES = {"nightly": given}

    return set_one


def found() -> list[tuple[str | None, str]]:
    """Return id and message of each finding of ``manage.py check``."""
    return [(one.id, str(one.msg)) for one in django_checks.run_checks(tags=[checks.TAG])]


def test_what_is_not_given_has_its_default(schedule, settings: Any):
    settings.TIME_ZONE = "Europe/Berlin"
    schedule(task="Cleanup", cron="0 3 * * *")

    definition = configured()["nightly"]

    assert found() == []
    assert definition.as_columns() == {
        "task": "Cleanup", "cron": "0 3 * * *", "every": None, "args": [], "kwargs": {}, "queue_name": None,
        "priority": None, "time_zone": "Europe/Berlin", "catch_up": "one", "overlap": True,
        "expires_seconds": None,
    }  # fmt: skip
    assert definition.times.after(datetime(2026, 11, 30, 12, tzinfo=timezone.utc)) == datetime(
        2026, 12, 1, 2, tzinfo=timezone.utc
    )


def test_everything_may_be_given(schedule):
    schedule(
        task="Report", every=timedelta(minutes=5), args=(2026,), kwargs={"draft": True}, queue_name="mail",
        priority=-3, catch_up="all", overlap=True, expires_seconds=60,
    )  # fmt: skip

    definition = configured()["nightly"]

    assert found() == []
    assert (definition.every, definition.args, definition.time_zone) == (300, [2026], None)
    assert definition.times == FixedInterval(300)
    assert isinstance(definition.expires_seconds, float)


def test_a_function_is_named_by_its_path(schedule):
    schedule(task=FUNCTION, every=60, args=[1], kwargs={"other": 2})

    assert found() == []
    assert configured()["nightly"].task == FUNCTION


def test_a_function_that_takes_its_context_is_given_it(schedule):
    schedule(task="tests.app.tasks.attempt", every=60)

    assert found() == []


def test_the_fingerprint_follows_from_the_definition_but_not_from_the_name(settings: Any):
    given = {"task": "Cleanup", "every": 60}
    settings.PARTISAN_SCHEDULES = {
        "one": given,
        "same": {**given, "every": timedelta(minutes=1), "args": ()},
        "other": {**given, "args": [1]},
    }

    one, same, other = (definition.fingerprint for definition in configured().values())

    assert one == same != other
    assert len(one) == 32


def test_a_project_without_schedules_has_none():
    assert configured() == {}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return a valid schedule with these changes."""
    times = {} if {"cron", "every"} & changes.keys() else {"every": 60}
    return {"task": "Cleanup", **times, **changes}


@pytest.mark.parametrize(
    ("given", "identity", "said"),
    [
        (
            {"every": 60},
            "E012",
            "['task'] is None; expected the name of a processor or the path of a function",
        ),
        ({"task": "Cleanup"}, "E012", "['nightly'] is {'task': 'Cleanup'}; expected exactly one of"),
        (changed({"cron": "@daily", "every": 60}), "E012", "expected exactly one of 'cron' and 'every'"),
        (changed({"cron": 5}), "E012", "['cron'] is 5; expected a string"),
        (changed({"every": 0}), "E012", "['every'] is 0; expected whole seconds from 1"),
        (changed({"every": True}), "E012", "['every'] is True"),
        (changed({"every": 1.5}), "E012", "['every'] is 1.5"),
        (changed({"every": 2**31}), "E012", "['every'] is 2147483648"),
        (changed({"every": timedelta(milliseconds=1500)}), "E012", "['every'] is datetime.timedelta"),
        (changed({"args": "abc"}), "E012", "['args'] is 'abc'; expected a list or tuple"),
        (changed({"kwargs": []}), "E012", "['kwargs'] is []; expected a dict"),
        (changed({"queue_name": 5}), "E012", "['queue_name'] is 5"),
        (changed({"priority": "high"}), "E012", "['priority'] is 'high'; expected a 32-bit integer"),
        (
            changed({"time_zone": "UTC"}),
            "E012",
            "['time_zone'] is 'UTC'; expected no time zone with 'every'",
        ),
        (changed({"cron": "@daily", "time_zone": 3}), "E012", "['time_zone'] is 3"),
        (
            changed({"catch_up": "some"}),
            "E012",
            "['catch_up'] is 'some'; expected one of 'one', 'none', 'all'",
        ),
        (changed({"overlap": 0}), "E012", "['overlap'] is 0; expected True or False"),
        (
            changed({"expires_seconds": 0}),
            "E012",
            "['expires_seconds'] is 0; expected a number of seconds, above 0",
        ),
        pytest.param(
            changed({"expires_seconds": 10**400}), "E012", "and at most 3155760000", id="expires_too_late"
        ),
        (changed({"expires_seconds": True}), "E012", "['expires_seconds'] is True"),
        (changed({"expires_seconds": float("nan")}), "E012", "['expires_seconds'] is nan"),
        (
            changed({"crn": "@daily"}),
            "E013",
            "A key of PARTISAN_SCHEDULES['nightly'] is 'crn'; expected one of task",
        ),
        (
            changed({"cron": "61 * * * *"}),
            "E014",
            "The minute field of PARTISAN_SCHEDULES['nightly']['cron'] is '61'",
        ),
        (
            changed({"cron": "@reboot"}),
            "E014",
            "PARTISAN_SCHEDULES['nightly']['cron'] is '@reboot'; expected five",
        ),
        (changed({"cron": "0 0 * 2 MON#5", "time_zone": "Europe/Berlin"}), None, ""),
        (
            changed({"cron": "0 0 */31 2 1L"}),
            "E015",
            "['cron'] is '0 0 */31 2 1L'; expected a tick within 50 years",
        ),
        (
            changed({"task": "Cleanpu"}),
            "E016",
            "is 'Cleanpu'; expected the registered name of a processor, or the path",
        ),
        (changed({"task": "Cleanpu"}), "E016", "did you mean 'Cleanup'?"),
        (changed({"task": "no.such.path"}), "E016", "['task'] is 'no.such.path'; expected"),
        (changed({"task": "tests.app.tasks.TASK_COUNT"}), "E016", "expected the registered name"),
        (changed({"task": "tests.app.lacking.anything"}), "E016", "it raised ModuleNotFoundError"),
        (changed({"cron": "@daily", "time_zone": "Europe/Berlni"}), "E017", "is 'Europe/Berlni'"),
        (
            changed({"queue_name": "male"}),
            "E018",
            "['queue_name'] is 'male'; expected one of 'default', 'mail'",
        ),
        (changed({"task": "Report"}), "E019", "missing a required argument: 'year'"),
        (changed({"task": "Report", "args": [1, 2]}), "E019", "['args'] is [1, 2]; expected other arguments"),
        (changed({"task": "Report", "kwargs": {"yaer": 1}}), "E019", "['kwargs'] is {'yaer': 1}"),
        (changed({"task": FUNCTION, "kwargs": {"two": 1}}), "E019", "missing a required argument: 'one'"),
        (changed({"args": [{1}]}), "E019", "which is not a JSON value"),
        (changed({"kwargs": {5: 1}}), "E019", "['kwargs'] is {5: 1}"),
        (changed({"catch_up": "all"}), "E020", "because Cleanup is unique"),
        (
            changed({"task": "Report", "args": [1], "catch_up": "all", "overlap": False}),
            "E020",
            "overlap is False",
        ),
    ],
)
def test_each_kind_of_wrong_schedule_has_an_id_and_says_what_is_expected(given, identity, said, schedule):
    schedule(**given)

    problems = found()

    if identity is None:
        assert problems == []
        return
    assert [one for one, _ in problems] == [f"partisan.{identity}"]
    assert said in problems[0][1]
    with pytest.raises(WrongSetting):
        configured()
    with pytest.raises(WrongSetting, match="PARTISAN_SCHEDULES"):
        ensure_right_settings()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "PARTISAN_SCHEDULES is []; expected a dict that maps names to schedules"),
        ({"nightly": "0 3 * * *"}, "PARTISAN_SCHEDULES['nightly'] is '0 3 * * *'; expected a dict"),
        ({"": {}}, "A key of PARTISAN_SCHEDULES is ''; expected a name of 1 to 200"),
        ({"a\nb": {}}, "A key of PARTISAN_SCHEDULES is 'a\\nb'"),
        ({5: {}}, "A key of PARTISAN_SCHEDULES is 5"),
        ({"_other": {}}, "A key of PARTISAN_SCHEDULES is '_other'"),
        ({"x" * 201: {}}, "expected a name of 1 to 200 printable characters"),
    ],
)
def test_schedules_of_another_shape_are_refused(given, said, settings: Any):
    settings.PARTISAN_SCHEDULES = given

    [(identity, message)] = found()

    assert identity == "partisan.E012"
    assert said in message


def test_the_hint_says_what_the_key_does(schedule):
    schedule(task="Cleanup", every=60, overlap=0)

    [error] = django_checks.run_checks(tags=[checks.TAG])

    assert str(error.hint).startswith(KEYS["overlap"].help)


def test_several_faults_of_one_schedule_are_reported_together(schedule):
    schedule(task="Nothing", cron="0 25 * * *", time_zone="Mars", queue_name="male", overlap=1)

    assert sorted(str(one) for one, _ in found()) == [
        f"partisan.E0{number}" for number in (12, 14, 16, 17, 18)
    ]


def test_a_misspelt_name_of_the_setting_is_a_warning(settings: Any):
    settings.PARTISAN_SCHEDULE = {}

    [(identity, message)] = found()

    assert identity == "partisan.W004"
    assert "expected 'PARTISAN_SCHEDULES'" in message
