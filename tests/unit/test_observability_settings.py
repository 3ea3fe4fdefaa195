"""PARTISAN_OBSERVABILITY: the keys of the contract, the values they accept, and how they are read."""

from typing import Any

import pytest
from django.test import override_settings

from django_partisan.config import observability
from django_partisan.exceptions import WrongSetting

DEFAULTS = {
    "METRICS_PORT": None,
    "METRICS_HOST": "127.0.0.1",
    "METRICS_TOKEN_FILE": None,
    "METRICS_REQUIRED": True,
    "METRICS_MAX_SERIES": 10_000,
    "METRICS_MAX_ERROR_TYPES": 20,
    "METRICS_CREATED": False,
    "DURATION_BUCKETS": (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
    "WAIT_BUCKETS": (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600),
    "METRICS_DB_TIMEOUT": 2,
    "METRICS_DB_MIN_INTERVAL": 5,
    "METRICS_DB_MAX_AGE": 60,
    "CLIENT_METRICS": False,
    "TRACE_PROPAGATION": "link",
    "SPAN_NAMING": "queue",
    "TRACE_CLAIMS": True,
    "TRACE_SETTLES": False,
    "CARRY_CONTEXT": ("request_id", "user_id", "correlation_id"),
    "TELEMETRY_SHUTDOWN_TIMEOUT": 5,
    "LOG_TASK_ARGS": False,
    "REDACT_KEYS": (
        "password",
        "passwd",
        "token",
        "secret",
        "authorization",
        "cookie",
        "api_key",
        "apikey",
        "access_key",
        "private_key",
        "session",
        "credential",
    ),
    "LOG_MAX_LINE_BYTES": 4000,
}

WRONG: list[Any] = [
    ("METRICS_PORT", 65536),
    ("METRICS_PORT", -1),
    ("METRICS_PORT", True),
    ("METRICS_PORT", "9100"),
    ("METRICS_PORT", {"default": "9100"}),
    ("METRICS_PORT", {1: 9100}),
    ("METRICS_HOST", ""),
    ("METRICS_HOST", None),
    ("METRICS_TOKEN_FILE", ""),
    ("METRICS_TOKEN_FILE", 1),
    ("METRICS_REQUIRED", 1),
    ("METRICS_MAX_SERIES", -1),
    ("METRICS_MAX_ERROR_TYPES", 2.5),
    ("METRICS_CREATED", "yes"),
    ("DURATION_BUCKETS", []),
    ("DURATION_BUCKETS", [1, 1]),
    ("DURATION_BUCKETS", [2, 1]),
    ("DURATION_BUCKETS", [0, 1]),
    ("DURATION_BUCKETS", [1, float("inf")]),
    ("DURATION_BUCKETS", [1, float("nan")]),
    pytest.param("DURATION_BUCKETS", [1, 10**400], id="too_large"),
    ("WAIT_BUCKETS", "1,2"),
    ("WAIT_BUCKETS", [True, 2]),
    ("METRICS_DB_TIMEOUT", 0),
    ("METRICS_DB_MIN_INTERVAL", -1),
    ("METRICS_DB_MAX_AGE", None),
    ("CLIENT_METRICS", "yes"),
    ("TRACE_PROPAGATION", "links"),
    ("TRACE_PROPAGATION", ["link"]),
    ("SPAN_NAMING", None),
    ("TRACE_CLAIMS", 0),
    ("TRACE_SETTLES", "no"),
    ("CARRY_CONTEXT", "request_id"),
    ("CARRY_CONTEXT", [""]),
    ("CARRY_CONTEXT", [1]),
    ("TELEMETRY_SHUTDOWN_TIMEOUT", float("inf")),
    pytest.param("TELEMETRY_SHUTDOWN_TIMEOUT", 10**400, id="too_long"),
    ("LOG_TASK_ARGS", None),
    ("REDACT_KEYS", None),
    ("LOG_MAX_LINE_BYTES", 100),
]

RIGHT: list[tuple[str, Any]] = [
    ("METRICS_PORT", 0),
    ("METRICS_PORT", 65535),
    ("METRICS_PORT", {"default": 9100}),
    ("METRICS_PORT", {"default": None}),
    ("METRICS_TOKEN_FILE", "/run/token"),
    ("DURATION_BUCKETS", [0.5]),
    ("CARRY_CONTEXT", ()),
    ("CARRY_CONTEXT", {"request_id"}),
    ("REDACT_KEYS", []),
    ("TELEMETRY_SHUTDOWN_TIMEOUT", 0),
    ("TRACE_PROPAGATION", "none"),
    ("SPAN_NAMING", "processor"),
]

TWO_QUEUES = override_settings(PARTISAN_CONFIG={"default": {}, "mails": {}})


def given(**values: Any) -> override_settings:
    return override_settings(PARTISAN_OBSERVABILITY=values)


def test_the_keys_and_defaults_are_those_of_the_contract():
    assert {key: spec.default for key, spec in observability.KEYS.items()} == DEFAULTS


def test_every_default_is_accepted():
    assert observability.resolved() == DEFAULTS
    assert list(observability.problems()) == []


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_value_is_a_problem_that_names_it(key, value):
    with given(**{key: value}):
        (problem,) = observability.problems()

        assert problem.place == f"PARTISAN_OBSERVABILITY[{key!r}]"
        assert problem.value is value
        with pytest.raises(WrongSetting, match=key):
            observability.value(key)


@pytest.mark.parametrize(("key", "value"), RIGHT)
def test_a_right_value_is_used(key, value):
    with given(**{key: value}):
        assert list(observability.problems()) == []
        assert observability.value(key) == value


@pytest.mark.parametrize(
    ("settings_given", "text"),
    [
        (
            {"METRIC_PORT": 1},
            "A key of PARTISAN_OBSERVABILITY is 'METRIC_PORT'; expected one of METRICS_",
        ),
        (["METRICS_PORT"], "PARTISAN_OBSERVABILITY is ['METRICS_PORT']; expected a dict of settings."),
        (
            {"METRICS_PORT": {"default": 1, "mails": 2}},
            "A queue of PARTISAN_OBSERVABILITY['METRICS_PORT'] is 'mails'; expected one of 'default'.",
        ),
    ],
)
def test_what_is_no_setting_is_a_problem_that_names_it(settings_given, text, settings):
    settings.PARTISAN_OBSERVABILITY = settings_given

    (problem,) = observability.problems()

    assert str(problem).startswith(text)


@override_settings(PARTISAN_OBSERVABILITY=["METRICS_PORT"])
def test_a_setting_that_is_no_dict_is_refused():
    with pytest.raises(WrongSetting, match="a dict of settings"):
        observability.value("METRICS_PORT")


@TWO_QUEUES
def test_the_port_may_differ_by_queue():
    with given(METRICS_PORT={"mails": 9101}):
        assert (observability.metrics_port("default"), observability.metrics_port("mails")) == (None, 9101)
    with given(METRICS_PORT=9100):
        assert observability.metrics_port("mails") == 9100


@TWO_QUEUES
@pytest.mark.parametrize("ports", [9100, {"default": 9100, "mails": 9100}])
def test_a_port_that_two_queues_share_is_doubtful(ports):
    with given(METRICS_PORT=ports):
        (problem,) = observability.shared_ports()

    assert "'default' and 'mails'" in problem.place
    assert problem.value == 9100


@TWO_QUEUES
@pytest.mark.parametrize("ports", [None, 0, {"default": 0, "mails": 0}, {"default": 1, "mails": 2}, {}])
def test_ports_of_their_own_are_fine(ports):
    with given(METRICS_PORT=ports):
        assert list(observability.shared_ports()) == []


def test_what_a_manager_hands_over_wins_in_its_worker():
    with given(LOG_TASK_ARGS=True):
        handed_over = observability.resolved()

    observability.use_resolved(handed_over)
    try:
        assert observability.value("LOG_TASK_ARGS") is True
    finally:
        observability.use_resolved(None)
    assert observability.value("LOG_TASK_ARGS") is False
