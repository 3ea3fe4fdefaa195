"""A row passes if its alerts fired in time, no others did, the cause was named, and all alerts ended."""

from contextlib import nullcontext

import pytest

from tests.real_parts.game_day.verdict import FIRING, RESOLVED, Observation, Row, problems
from tests.real_parts.monitoring import Message

ROW = Row("row", "a fault", lambda site: nullcontext(), ("PartisanLate",), also_allowed=("PartisanBusy",))
BEGAN_AT, INJECTED_AT, RECOVERED_AT = 95.0, 100.0, 150.0


def message(
    alert: str, at: float, status: str = FIRING, severity: str = "warning", text: str = "Mail is late."
) -> Message:
    labels = {"alertname": alert, "severity": severity}
    return Message(status=status, labels=labels, annotations={"description": text}, received_at=at)


def seen(*received: Message, log: str = "", still_firing: frozenset[str] = frozenset()) -> Observation:
    return Observation(BEGAN_AT, INJECTED_AT, RECOVERED_AT, received, log, still_firing)


def test_a_row_whose_alert_fires_and_ends_is_right():
    observed = seen(message("PartisanLate", 112), message("PartisanLate", 170, RESOLVED))

    assert list(problems(ROW, observed)) == []
    assert observed.fired_after("PartisanLate") == 12
    assert observed.resolved_after() == 20


def test_an_alert_that_does_not_fire_is_missed_and_what_fired_is_named():
    observed = seen(message("PartisanBusy", 112))

    assert list(problems(ROW, observed)) == ["PartisanLate did not fire; what fired: PartisanBusy"]
    assert observed.fired_after("PartisanLate") is None
    assert observed.resolved_after() is None


def test_where_nothing_fires_that_is_said():
    assert list(problems(ROW, seen())) == ["PartisanLate did not fire; what fired: nothing"]


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_an_alert_that_the_row_does_not_know_is_wrong_once(severity: str):
    other = [message("PartisanDown", at, severity=severity, text="Gone.") for at in (120, 130)]

    assert list(problems(ROW, seen(message("PartisanLate", 112), *other))) == [
        f"PartisanDown ({severity}) fired 20 s after the fault: Gone."
    ]


def test_a_warning_that_is_true_as_well_may_fire_and_a_critical_alert_of_its_name_may_not():
    late = message("PartisanLate", 112)

    assert list(problems(ROW, seen(late, message("PartisanBusy", 120)))) == []
    assert list(problems(ROW, seen(late, message("PartisanBusy", 120, severity="critical")))) == [
        "PartisanBusy (critical) fired 20 s after the fault: Mail is late."
    ]


def test_an_alert_of_two_severities_must_have_that_of_the_row():
    warned = message("PartisanLate", 112)
    paged = message("PartisanLate", 112, severity="critical")
    mild, grave = (
        Row("row", "a fault", ROW.inject, ("PartisanLate",), severity=one) for one in ("warning", "critical")
    )

    assert list(problems(mild, seen(warned))) == []
    assert list(problems(mild, seen(warned, paged))) == [
        "PartisanLate (critical) fired 12 s after the fault: Mail is late."
    ]
    assert list(problems(grave, seen(warned, paged))) == []
    assert list(problems(grave, seen(warned))) == ["PartisanLate did not fire as critical"]


def test_an_alert_of_the_row_that_fires_before_the_fault_is_wrong():
    assert list(problems(ROW, seen(message("PartisanLate", 90)))) == [
        "PartisanLate (warning) fired before the fault: Mail is late."
    ]


def test_a_fault_that_nothing_tells_of_must_be_silent():
    silent = Row("row", "a fault", ROW.inject, ())

    assert list(problems(silent, seen())) == []
    assert list(problems(silent, seen(message("PartisanLate", 112)))) == [
        "PartisanLate (warning) fired 12 s after the fault: Mail is late."
    ]


def test_a_description_or_a_log_that_does_not_name_the_cause_is_wrong():
    strict = Row("row", "a fault", ROW.inject, ("PartisanLate",), named="SendMail", logged=r"pid \d+")

    assert list(problems(strict, seen(message("PartisanLate", 112), log="nothing"))) == [
        "PartisanLate does not name 'SendMail': Mail is late.",
        r"no line of a manager's log matches 'pid \\d+'",
    ]
    named = message("PartisanLate", 112, text="SendMail is late.")
    assert list(problems(strict, seen(named, log="held by pid 17"))) == []


def test_what_does_not_end_is_wrong():
    observed = seen(message("PartisanLate", 112), still_firing=frozenset({"PartisanLate"}))

    assert list(problems(ROW, observed)) == ["not resolved: PartisanLate"]
