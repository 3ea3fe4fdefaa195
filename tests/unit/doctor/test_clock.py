"""A clock skew is judged by the part that is certain."""

import pytest

from django_partisan.doctor import database
from django_partisan.doctor.finding import ERROR, FINE, WARNING
from tests.unit.grafana import files


@pytest.mark.parametrize(
    ("skew", "uncertainty", "status", "said"),
    [
        (0.0, 0.0, FINE, "0.000 s behind"),
        (1.0, 0.0, FINE, "1.000 s ahead of this host's"),
        (-1.5, 0.01, WARNING, "1.500 s behind this host's (within 0.010 s)"),
        (1.5, 1.0, FINE, "1.500 s ahead of"),
        (6.0, 0.5, ERROR, "6.000 s ahead of"),
        (-6.0, 2.0, WARNING, "6.000 s behind"),
    ],
)
def test_a_skew_has_a_direction_and_a_severity(skew, uncertainty, status, said):
    finding = database.judge_skew(skew, uncertainty)

    assert finding.status == status
    assert said in finding.message
    assert bool(finding.remedy) == (status != FINE)


def test_the_limit_of_an_error_is_the_alerts():
    [rule] = [rule for rule in files.rules("alerts") if rule["alert"] == "PartisanClockSkew"]

    assert rule["expr"].rpartition(">")[2].strip() == f"{database.SKEW_ERROR_SECONDS:g}"
