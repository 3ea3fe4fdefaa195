"""The source of a setting's value, and which values are refused."""

import os
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from django_partisan.config import problems as kinds
from django_partisan.config import queues
from django_partisan.config.queue_keys import KEYS
from django_partisan.exceptions import UnknownQueue, WrongSetting
from django_partisan.moments import LONGEST_DELAY_SECONDS

NEW_IN_VERSION_2 = {
    "LEASE_SECONDS": (60, 30),
    "MAX_WAIT_SECONDS": (60, 1800),
    "MAX_CRASHES": (9, 3),
    "LISTEN": (False, True),
    "STOP_TIMEOUT_SECONDS": (7, None),
    "PRELOAD": (False, True),
    "RESET_SESSION": (True, False),
}
README_DEFAULTS = {
    "min_queue_size": 2,
    "max_queue_size": 10,
    "checks_before_cleanup": 50,
    "sleep_delay_seconds": 2,
    "tasks_per_worker_instance": None,
    "default_postpone_delay_seconds": 5,
    "default_postpones_count": 15,
    "delete_tasks_on_complete": False,
}


@pytest.fixture(autouse=True)
def no_settings_of_the_project(settings: Any) -> None:
    settings.PARTISAN_CONFIG = {}
    for key in KEYS:
        if hasattr(django_settings, key):
            delattr(settings, key)


def problem_texts() -> list[str]:
    return [str(problem) for problem in queues.problems()]


def test_the_defaults_are_those_of_the_readme():
    config = queues.queue_config()

    assert config.queue == "default"
    assert {field: getattr(config, field) for field in README_DEFAULTS} == README_DEFAULTS


def test_by_default_there_are_as_many_workers_as_this_process_may_use_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)

    assert queues.queue_config().workers_count == 3


@pytest.mark.parametrize(
    ("configured", "queue", "expected"),
    [
        ({}, "default", 77),
        ({"default": {"MAX_QUEUE_SIZE": 55}}, "default", 55),
        ({"default": {"MAX_QUEUE_SIZE": 55}, "mail": {"WORKERS_COUNT": 1}}, "mail", 77),
    ],
    ids=["flat", "PARTISAN_CONFIG wins", "no other queue's value"],
)
def test_a_value_is_looked_up_in_partisan_config_then_as_a_flat_name(configured, queue, expected, settings):
    settings.MAX_QUEUE_SIZE = 77
    settings.PARTISAN_CONFIG = configured

    assert queues.queue_config(queue).max_queue_size == expected


@override_settings(PARTISAN_CONFIG={"default": {"MAX_QUEUE_SIZE": 55}, "mail": {}})
def test_a_queue_without_settings_has_the_defaults():
    assert queues.queue_config("mail").max_queue_size == 10


@pytest.mark.parametrize("key", NEW_IN_VERSION_2)
def test_a_key_of_version_2_is_no_flat_setting(key, settings):
    given, default = NEW_IN_VERSION_2[key]
    setattr(settings, key, given)

    assert queues.queue_value("default", key) == default

    settings.PARTISAN_CONFIG = {"default": {key: given}}

    assert queues.queue_value("default", key) == given


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MIN_QUEUE_SIZE", 0),
        ("DEFAULT_POSTPONE_DELAY_SECONDS", 0),
        ("DEFAULT_POSTPONES_COUNT", 0),
        ("DEFAULT_POSTPONES_COUNT", None),
        ("STOP_TIMEOUT_SECONDS", 0),
        ("STOP_TIMEOUT_SECONDS", None),
        ("TASKS_PER_WORKER_INSTANCE", None),
    ],
)
def test_zero_and_none_are_values_where_they_have_a_meaning(key, value, settings):
    settings.PARTISAN_CONFIG = {"default": {key: value}}

    assert getattr(queues.queue_config(), key.lower()) == value


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("MIN_QUEUE_SIZE", -1),
        ("MIN_QUEUE_SIZE", True),
        ("MAX_QUEUE_SIZE", 0),
        ("MAX_QUEUE_SIZE", "10"),
        ("CHECKS_BEFORE_CLEANUP", 0),
        ("WORKERS_COUNT", 0),
        ("WORKERS_COUNT", 1.5),
        ("SLEEP_DELAY_SECONDS", 0),
        ("SLEEP_DELAY_SECONDS", None),
        ("SLEEP_DELAY_SECONDS", float("inf")),
        ("TASKS_PER_WORKER_INSTANCE", 0),
        ("DELETE_TASKS_ON_COMPLETE", 1),
        ("DEFAULT_POSTPONE_DELAY_SECONDS", -0.1),
        ("DEFAULT_POSTPONE_DELAY_SECONDS", LONGEST_DELAY_SECONDS + 1),
        ("DEFAULT_POSTPONE_DELAY_SECONDS", True),
        ("DEFAULT_POSTPONES_COUNT", -1),
        ("DEFAULT_RETRY", {"retries_count": 3}),
        ("LEASE_SECONDS", 2),
        ("MAX_WAIT_SECONDS", 0),
        ("MAX_WAIT_SECONDS", "60"),
        ("MAX_CRASHES", 0),
        ("LISTEN", "no"),
        ("STOP_TIMEOUT_SECONDS", -1),
        ("STOP_TIMEOUT_SECONDS", float("nan")),
        ("PRELOAD", None),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_was_expected(key, wrong, settings):
    settings.PARTISAN_CONFIG = {"default": {key: wrong}}
    expected = f"PARTISAN_CONFIG['default'][{key!r}] is {wrong!r}; expected {KEYS[key].rule.expected}."

    with pytest.raises(WrongSetting) as refused:
        queues.queue_config()

    assert str(refused.value) == expected
    assert problem_texts() == [expected]


@pytest.mark.parametrize("key", [key for key in KEYS if key.endswith("_SECONDS")])
@pytest.mark.parametrize("wrong", [LONGEST_DELAY_SECONDS + 1, 1e300, pytest.param(10**400, id="too_large")])
def test_a_duration_that_does_not_fit_a_moment_is_refused_with_the_longest_that_does(key, wrong, settings):
    settings.PARTISAN_CONFIG = {"default": {key: wrong}}

    with pytest.raises(WrongSetting, match=rf"{key}'\] is \d.*; expected .* and at most 3155760000"):
        queues.queue_config()


@pytest.mark.parametrize(
    ("option", "text"), [("sleep_delay_seconds", "1e400"), ("stop_timeout_seconds", "1e300")]
)
def test_an_option_that_does_not_fit_a_moment_is_refused(option, text):
    read = KEYS[option.upper()].option
    assert read is not None

    with pytest.raises(WrongSetting, match="and at most 3155760000"):
        queues.queue_config(**{option: read(text)})


def test_every_key_refuses_something():
    assert not any(key.rule.accepts(object()) for key in KEYS.values())


@override_settings(PARTISAN_CONFIG={"mail": {}, "images": {}}, WORKERS_COUNT=0)
def test_a_wrong_flat_setting_is_told_once_for_all_queues():
    assert problem_texts() == ["WORKERS_COUNT is 0; expected an integer, at least 1."]


@pytest.mark.parametrize(
    ("configured", "kind", "text"),
    [
        (
            None,
            kinds.WRONG_SHAPE,
            "PARTISAN_CONFIG is None; expected a dict of queue names and their",
        ),
        (
            ["default"],
            kinds.WRONG_SHAPE,
            "PARTISAN_CONFIG is ['default']; expected a dict of queue names",
        ),
        (
            {"mail": ["WORKERS_COUNT"]},
            kinds.WRONG_SHAPE,
            "PARTISAN_CONFIG['mail'] is ['WORKERS_COUNT']; expected a dict of settings.",
        ),
        ({"": {}}, kinds.WRONG_QUEUE_NAME, "is ''; expected queue names of 1 to 50 characters."),
        ({"q" * 51: {}}, kinds.WRONG_QUEUE_NAME, "qqq'; expected queue names of 1 to 50 characters."),
        ({7: {}}, kinds.WRONG_QUEUE_NAME, "is 7; expected queue names of 1 to 50 characters."),
        (
            {"mail": {"WORKER_COUNT": 4}},
            kinds.UNKNOWN_KEY,
            "A key of PARTISAN_CONFIG['mail'] is 'WORKER_COUNT'; expected one of " + ", ".join(KEYS),
        ),
        (
            {"default": {"MIN_QUEUE_SIZE": 30, "MAX_QUEUE_SIZE": 20}},
            kinds.MIN_ABOVE_MAX,
            "is 30; expected at most 20, which is PARTISAN_CONFIG['default']['MAX_QUEUE_SIZE'].",
        ),
    ],
)
def test_each_kind_of_wrong_setting_is_named_with_its_place(configured, kind, text, settings):
    settings.PARTISAN_CONFIG = configured

    [problem] = queues.problems()

    assert problem.kind is kind
    assert text in str(problem)
    with pytest.raises(WrongSetting):
        queues.queue_config()


@override_settings(PARTISAN_CONFIG={"default": {"MIN_QUEUE_SIZE": 20, "MAX_QUEUE_SIZE": 20}})
def test_a_minimum_may_equal_the_maximum():
    assert queues.queue_config().min_queue_size == 20


@override_settings(PARTISAN_CONFIG={"q" * 51: {}})
def test_a_queue_name_that_is_too_long_is_refused_before_it_is_stored():
    queues.check_queue_name("default")

    with pytest.raises(WrongSetting, match="has 51 characters; expected at most 50"):
        queues.check_queue_name("q" * 51)


@pytest.mark.parametrize(
    ("configured", "names"),
    [
        ({"mail": {}, "images": {}}, ["default", "mail", "images"]),
        ({"mail": {}, "default": {}}, ["mail", "default"]),
        (None, ["default"]),
    ],
)
def test_queues_are_listed_as_in_the_settings_and_default_always(configured, names, settings):
    settings.PARTISAN_CONFIG = configured

    assert queues.queue_names() == names


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_an_unknown_queue_is_refused_with_the_known_ones():
    with pytest.raises(UnknownQueue, match=r"Unknown queue 'male'; known: 'default', 'mail'\. Add it"):
        queues.queue_config("male")


@override_settings(PARTISAN_CONFIG={"default": {"MIN_QUEUE_SIZE": 1, "WORKERS_COUNT": 4}})
def test_overrides_win_over_all_and_zero_is_one():
    config = queues.queue_config(min_queue_size=0, workers_count=2)

    assert (config.min_queue_size, config.workers_count) == (0, 2)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ({"workers_count": 0}, "--workers_count is 0; expected an integer, at least 1."),
        (
            {"min_queue_size": 11},
            "--min_queue_size is 11; expected at most 10, which is the default of MAX_QUEUE_SIZE.",
        ),
    ],
)
def test_a_wrong_override_is_refused_under_the_name_of_its_option(override, text):
    with pytest.raises(WrongSetting) as refused:
        queues.queue_config(**override)

    assert str(refused.value) == text
