"""A skew is judged by what is certain of it."""

import pytest

from django_partisan.doctor import clock
from django_partisan.doctor.finding import ERROR, FINE, WARNING
from tests.unit.grafana import files


@pytest.mark.parametrize(
    ("skew", "uncertainty", "status"),
    [
        (0.0, 0.0, FINE),
        (1.0, 0.0, FINE),
        (-1.5, 0.01, WARNING),
        (1.5, 1.0, FINE),
        (6.0, 0.5, ERROR),
        (-6.0, 2.0, WARNING),
    ],
)
def test_a_skew_has_a_severity(skew, uncertainty, status):
    finding = clock.judge(skew, uncertainty)

    assert finding.status == status
    assert bool(finding.cure) == (status != FINE)


def test_it_says_which_clock_is_ahead():
    assert "1.500 s ahead of this host's" in clock.judge(1.5, 0).message
    assert "1.500 s behind this host's" in clock.judge(-1.5, 0).message


def test_the_limit_of_an_error_is_the_alerts():
    [rule] = [rule for rule in files.rules("alerts") if rule["alert"] == "PartisanClockSkew"]

    assert rule["expr"].rpartition(">")[2].strip() == f"{clock.ERROR_SECONDS:g}"
