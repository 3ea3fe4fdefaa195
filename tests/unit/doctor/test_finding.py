"""The exit code follows the worst finding."""

import pytest

from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding, exit_code, worst


@pytest.mark.parametrize(
    ("statuses", "expected", "code"),
    [
        ([], FINE, 0),
        ([FINE], FINE, 0),
        ([FINE, SKIPPED], SKIPPED, 0),
        ([WARNING, FINE], WARNING, 1),
        ([WARNING, ERROR, SKIPPED], ERROR, 2),
    ],
)
def test_the_worst_counts(statuses, expected, code):
    findings = [Finding("x", status, "said") for status in statuses]

    assert worst(findings) == expected
    assert exit_code(findings) == code
