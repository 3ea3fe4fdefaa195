"""A server that refuses writes is an error that says how to reach one that accepts them."""

import pytest

from django_partisan.doctor.database import LET_IT_WRITE, NAME_THE_PRIMARY, judge_writes
from django_partisan.doctor.finding import ERROR, FINE


@pytest.mark.parametrize(
    ("is_standby", "read_only", "status", "remedy"),
    [
        (True, "on", ERROR, NAME_THE_PRIMARY),
        (False, "on", ERROR, LET_IT_WRITE),
        (False, "off", FINE, ""),
    ],
)
def test_a_server_that_takes_no_writes_is_an_error(is_standby, read_only, status, remedy):
    finding = judge_writes(is_standby, read_only)

    assert (finding.status, finding.remedy) == (status, remedy)
