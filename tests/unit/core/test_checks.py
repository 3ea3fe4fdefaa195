"""``manage.py check`` reports mistakes, each with an id and a hint."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import checks as django_checks
from django.test import override_settings

from django_partisan import checks, registry
from django_partisan.config import queue_keys
from django_partisan.config.problems import KINDS
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.metrics.custom import CounterMeasure
from django_partisan.processor import BaseTaskProcessor
from tests.support.database import database_elsewhere
from tests.support.registry import Idle

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def no_settings_of_the_project(settings: Any) -> None:
    settings.PARTISAN_CONFIG = {}
    settings.PARTISAN_OBSERVABILITY = {}


def messages() -> list[django_checks.CheckMessage]:
    """Return the messages of our checks in ``manage.py check``."""
    return django_checks.run_checks(tags=[checks.TAG])


def test_right_settings_yield_no_message():
    assert messages() == []


@pytest.mark.parametrize(
    ("setting", "given", "identity", "said"),
    [
        ("PARTISAN_CONFIG", [], "partisan.E001", "PARTISAN_CONFIG is []; expected a dict"),
        ("PARTISAN_CONFIG", {"q" * 51: {}}, "partisan.E002", "expected queue names of 1 to 50 characters"),
        ("PARTISAN_CONFIG", {"mail": {"WORKER_COUNT": 4}}, "partisan.E003", "is 'WORKER_COUNT'"),
        ("PARTISAN_CONFIG", {"mail": {"WORKERS_COUNT": 0}}, "partisan.E004", "is 0; expected an integer"),
        ("PARTISAN_CONFIG", {"mail": {"MIN_QUEUE_SIZE": 11}}, "partisan.E005", "is 11; expected at most 10"),
        (
            "PARTISAN_OBSERVABILITY",
            {"METRICS_PROT": 1},
            "partisan.E006",
            "A key of PARTISAN_OBSERVABILITY is",
        ),
        (
            "PARTISAN_OBSERVABILITY",
            {"METRICS_PORT": "1"},
            "partisan.E006",
            "['METRICS_PORT'] is '1'; expected",
        ),
        ("PARTISAN_IMMEDIATE", "yes", "partisan.E004", "is 'yes'; expected True, False or 'raise'"),
    ],
)
def test_each_kind_of_wrong_setting_has_an_id_and_a_hint(setting, given, identity, said, settings):
    setattr(settings, setting, given)

    [error] = messages()

    assert error.id == identity
    assert said in str(error.msg)
    assert str(error.hint).endswith(next(kind.hint for kind in KINDS if kind.id == identity))
    assert error.is_serious()


@override_settings(PARTISAN_CONFIG={"mail": {"WORKERS_COUNT": 0}})
def test_the_hint_of_a_wrong_value_says_what_the_setting_does():
    [error] = messages()

    assert str(error.hint).startswith(queue_keys.KEYS["WORKERS_COUNT"].meaning)


@override_settings(PARTISAN_CONFIG={"mail": {}}, PARTISAN_OBSERVABILITY={"METRICS_PORT": 9464})
def test_a_port_that_two_queues_share_is_a_warning():
    [warning] = messages()

    assert warning.id == "partisan.W001"
    assert "'default' and 'mail' is 9464; expected a different port for each" in str(warning.msg)
    assert "METRICS_PORT as a dict" in str(warning.hint)
    assert not warning.is_serious()


@pytest.fixture
def files_database() -> Iterator[None]:
    """Make the task database one that is not PostgreSQL."""
    with database_elsewhere(ENGINE="django.db.backends.sqlite3", NAME=":memory:"):
        yield


@pytest.mark.usefixtures("files_database")
def test_tasks_in_another_database_than_postgresql_are_a_warning_so_that_other_commands_work():
    [warning] = messages()

    assert warning.id == "partisan.W002"
    assert warning.msg == "The tasks' database 'elsewhere' is sqlite; django-partisan needs PostgreSQL."
    assert "django.db.backends.postgresql" in str(warning.hint)
    assert not warning.is_serious()


def processor(name: str = "Parcel", **attributes: Any) -> type[BaseTaskProcessor]:
    """Register a processor with these attributes."""
    return registry.register(type(name, (Idle,), attributes))


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_a_processor_of_an_unknown_queue_is_an_error_that_names_the_known_ones():
    parcel = processor(QUEUE_NAME="parcels")
    processor("Letter", QUEUE_NAME="mail")

    [error] = messages()

    assert error.id == "partisan.E008"
    assert error.msg == "Parcel.QUEUE_NAME is 'parcels'; expected one of 'default', 'mail'."
    assert error.obj is parcel
    assert "PARTISAN_CONFIG" in str(error.hint)


LIMIT = (
    "a number of seconds, at least 0.001 and at most 3155760000, "
    "math.inf for no limit, or None for the limit of the queue"
)
EXPIRY = "a number of seconds, above 0 and at most 3155760000, or None"


@pytest.mark.parametrize(
    ("attribute", "wrong", "expected"),
    [
        ("PRIORITY", "high", "a 32-bit integer"),
        ("PRIORITY", True, "a 32-bit integer"),
        ("PRIORITY", 2**31, "a 32-bit integer"),
        ("PRIORITY", None, "a 32-bit integer"),
        ("UNIQUE_FOR_PARAMS", 1, "True or False"),
        ("RETRY_ON_ERROR_CONFIG", {"retries_count": 3}, "an instance of ErrorsHandleConfig, or None"),
        ("RETRY_ON_ERROR_CONFIG", ErrorsHandleConfig, "an instance of ErrorsHandleConfig, or None"),
        ("POSTPONE_CONFIG", 5, "an instance of PostponeConfig, or None"),
        ("ATOMIC", "yes", "True or False"),
        ("TIMEOUT_SECONDS", 0, LIMIT),
        ("TIMEOUT_SECONDS", "60", LIMIT),
        ("TIMEOUT_SECONDS", True, LIMIT),
        pytest.param("TIMEOUT_SECONDS", 10**400, LIMIT, id="too_large"),
        ("TIMEOUT_SECONDS", 1e300, LIMIT),
        pytest.param("EXPIRES_SECONDS", 10**400, EXPIRY, id="too_late"),
        ("EXPIRES_SECONDS", 0, EXPIRY),
        ("EXPIRES_SECONDS", "60", EXPIRY),
        ("EXPIRES_SECONDS", 10**10, EXPIRY),
        ("TRACE_PROPAGATION", "chlid", "one of 'link', 'child', 'none', or None"),
        ("TRACE_PROPAGATION", ["child"], "one of 'link', 'child', 'none', or None"),
        ("MEASURES", "mails", "a list or tuple of CounterMeasure and HistogramMeasure"),
        ("MEASURES", None, "a list or tuple of CounterMeasure and HistogramMeasure"),
    ],
)
def test_a_wrong_attribute_of_a_processor_is_an_error_that_says_what_is_accepted(attribute, wrong, expected):
    parcel = processor(**{attribute: wrong})

    [error] = messages()

    assert error.id == "partisan.E009"
    assert error.msg == f"Parcel.{attribute} is {wrong!r}; expected {expected}."
    assert error.obj is parcel
    assert error.hint


def test_right_attributes_of_a_processor_yield_no_message():
    processor(
        PRIORITY=-(2**31),
        UNIQUE_FOR_PARAMS=False,
        RETRY_ON_ERROR_CONFIG=ErrorsHandleConfig([TimeoutError], 3, 3),
        POSTPONE_CONFIG=PostponeConfig(5),
        ATOMIC=True,
        TIMEOUT_SECONDS=0.5,
        EXPIRES_SECONDS=0.5,
        TRACE_PROPAGATION="none",
        MEASURES=[CounterMeasure("mails", "Mails sent.")],
    )

    assert messages() == []


def test_a_processor_may_have_no_time_limit_whatever_its_queue_has():
    processor(TIMEOUT_SECONDS=math.inf)

    assert messages() == []


@pytest.mark.parametrize("key", ["KEEP_FINISHED_SECONDS", "KEEP_FAILED_SECONDS"])
@pytest.mark.parametrize(("seconds", "is_warned"), [(0, True), (59.9, True), (60, False), (None, False)])
def test_a_queue_of_functions_whose_results_would_vanish_is_warned_of(
    key: str, seconds: Any, is_warned: bool, settings: Any
):
    settings.PARTISAN_CONFIG = {"default": {key: seconds}, "mail": {key: 0}}

    expected = f"{key}'] is {seconds!r}; expected at least 60 if results are kept, or None."
    assert [one.msg for one in messages()] == [f"PARTISAN_CONFIG['default']['{expected}"] * is_warned
    assert all((one.id, one.is_serious()) == ("partisan.W011", False) for one in messages())


def test_a_processor_whose_results_would_vanish_is_warned_of(settings: Any):
    settings.PARTISAN_CONFIG = {"mail": {"KEEP_FINISHED_SECONDS": 5}}
    letter = processor("Letter", KEEP_RESULT=True, QUEUE_NAME="mail", KEEP_FAILED_SECONDS=7)
    processor("Memo", KEEP_FINISHED_SECONDS=0)

    of_processor, of_queue = messages()

    assert (of_processor.obj, "Letter.KEEP_FAILED_SECONDS is 7" in of_processor.msg) == (letter, True)
    assert "['mail']['KEEP_FINISHED_SECONDS'] is 5" in of_queue.msg
    assert "get_result()" in str(of_queue.hint)


def test_results_of_a_queue_of_a_wrong_type_are_not_looked_after():
    processor(KEEP_RESULT=True, QUEUE_NAME=["mail"])

    assert [one.id for one in messages()] == ["partisan.E008"]


def test_measures_of_one_name_that_differ_are_an_error():
    processor(MEASURES=(CounterMeasure("mails", "Mails sent."),))
    letter = processor("Letter", MEASURES=(CounterMeasure("mails", "Mails sent.", ("kind",)),))

    [error] = messages()

    assert error.id == "partisan.E010"
    assert "the type, help, labels and buckets that Parcel declares" in str(error.msg)
    assert error.obj is letter


@pytest.mark.parametrize("wrong", [[], {"CLIENT_METRICS": "yes"}], ids=["no dict", "no boolean"])
@pytest.mark.slow
def test_settings_that_are_wrong_from_the_start_are_reported_by_manage_py_check(wrong, tmp_path):
    (tmp_path / "wrong_settings.py").write_text(
        f"from tests.settings import *\nPARTISAN_OBSERVABILITY = {wrong!r}\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])

    checked = subprocess.run(
        [sys.executable, "-m", "django", "check", "--settings", "wrong_settings"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert checked.returncode == 1
    assert "Traceback" not in checked.stderr
    assert checked.stderr.count("(partisan.E006) PARTISAN_OBSERVABILITY") == 1


def test_every_kind_of_problem_has_its_own_id():
    assert len({kind.id for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("value", [True, "raise", False])
def test_immediate_mode_is_warned_of_before_a_deployment_only(value, settings):
    settings.PARTISAN_IMMEDIATE = value

    assert messages() == []
    found = django_checks.run_checks(tags=[checks.TAG], include_deployment_checks=True)

    assert [one.id for one in found] == (["partisan.W005"] if value else [])
    assert all("Remove PARTISAN_IMMEDIATE" in str(one.hint) for one in found)
